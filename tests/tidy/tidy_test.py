"""Each check of tests/tidy finds what it is for, and lets pass what it must. Run by ctest (label tidy)."""

import unittest
from pathlib import Path

import classes
import constants
import environment
import floors
import layout
import words
from source import code_only


def size_of(text):
    """(members, methods, virtual functions) of the first class of the text."""
    found = classes.class_sizes(text)[0]
    return len(found.members), len(found.methods), len(found.virtuals)


def class_with(member="", members=0, method="", methods=0, key="class"):
    body = "".join(member.format(i) for i in range(members)) + "".join(method.format(i) for i in range(methods))
    return f"{key} Thing {{\n public:\n{body}}};\n"


class CommentsTest(unittest.TestCase):
    def test_comments_and_literals_are_blank(self):
        text = 'int a;  // { "\nauto b = "}; // no";  /* { */ char c = \'"\'; int d = 1\'000;\n'
        code = code_only(text)
        self.assertEqual(code.count("\n"), text.count("\n"))
        self.assertNotIn("{", code)
        self.assertNotIn("}", code)
        self.assertIn("int d = 1'000;", code)

    def test_raw_strings(self):
        self.assertNotIn("//", code_only('auto a = R"(no // comment " here)"; int b;'))
        self.assertIn("int b;", code_only('auto a = R"x(no )" end)x"; int b;'))

    def test_preprocessor_lines(self):
        self.assertNotIn("{", code_only("#define A \\\n  {\nint b;"))


class ClassSizeTest(unittest.TestCase):
    def test_data_members(self):
        self.assertEqual(size_of("struct A { int a; int b = 0, c{1}; };"), (3, 0, 0))
        self.assertEqual(size_of("struct A { std::map<int, int> a = {{1, 2}}; std::vector<int> b{1, 2}; };"), (2, 0, 0))
        self.assertEqual(size_of("struct A { unsigned depth : 8 = 0; int b[3]; };"), (2, 0, 0))
        self.assertEqual(size_of("struct A { std::function<void(int)> a; void (*b)(int) = nullptr; };"), (2, 0, 0))
        self.assertEqual(size_of("class A { int a_ GUARDED(mutex_) = 0; alignas(64) int b_; };"), (2, 0, 0))

    def test_what_is_no_data_member(self):
        text = """class A : public B<int, 3> {
          using C = int; friend class D; static constexpr int kE = 1; static int f; static_assert(sizeof(int) == 4);
          enum class G { kH, kI }; struct J { int k; int l; }; enum M : int;
        };"""
        self.assertEqual(size_of(text), (0, 0, 0))

    def test_methods(self):
        text = """class A final {
         public:
          explicit A(int a) : a_(a), b_{a} { if (a) { a_ = 2; } }
          A(const A&) = delete;
          ~A() = default;
          bool operator()(int x) const { return x < a_; }
          bool operator<(const A& other) const;
          template <typename T> requires (sizeof(T) > 1) T get(std::span<const T> of) const noexcept;
          [[nodiscard]] std::pair<int, int> both() { return {a_, b_}; }
          void overloaded(); void overloaded(int);
          struct Inner { void counts_for_itself(); int a; };
         private:
          int a_; int b_;
        };"""
        self.assertEqual(size_of(text), (2, 7, 0))

    def test_virtual_functions(self):
        text = """class A { public: virtual ~A() = default; virtual int a() = 0; virtual void b(int x) { c(x); }
                    void c(int); };"""
        self.assertEqual(size_of(text), (0, 3, 2))

    def test_nested_and_qualified_names(self):
        names = [size.name for size in classes.class_sizes("class A { struct B { int c; }; }; struct A::D { int e; };")]
        self.assertEqual(names, ["A", "A::B", "A::D"])

    def test_limits(self):
        member, method = "int a{}_;\n", "void f{}();\n"
        full = class_with(member, classes.MEMBERS_MAX, method, classes.METHODS_MAX)
        self.assertEqual(list(classes.check_classes("a.h", full)), [])
        for text, what in [
            (class_with(member, classes.MEMBERS_MAX + 1, method, 1), "data members"),
            (class_with(member, classes.MEMBERS_MAX + 1), "data members"),
            (class_with("", 0, method, classes.METHODS_MAX + 1), "methods"),
            (class_with("", 0, "virtual " + method, classes.VIRTUALS_MAX + 1), "virtual"),
        ]:
            problems = list(classes.check_classes("a.h", text))
            self.assertEqual(len(problems), 1, problems)
            self.assertIn(what, problems[0])

    def test_plain_data_is_exempt_by_name_only_without_methods(self):
        classes.PLAIN_DATA["Thing"] = "for this test"
        try:
            members = classes.MEMBERS_MAX + 1
            plain = class_with("int a{};\n", members, key="struct")
            self.assertEqual(list(classes.check_classes("a.h", plain)), [])
            active = class_with("int a{};\n", members, "void f{}();\n", 1, key="struct")
            self.assertEqual(len(list(classes.check_classes("a.h", active))), 1)
        finally:
            del classes.PLAIN_DATA["Thing"]


class ConstantsTest(unittest.TestCase):
    def names(self, text):
        return [name for _, name in constants.uncommented_constants(text)]

    def test_needs_a_comment(self):
        self.assertEqual(self.names("constexpr int kA = 3;\n"), ["kA"])
        self.assertEqual(self.names("  static constexpr std::size_t kB{4};\n"), ["kB"])
        self.assertEqual(self.names("inline constexpr std::chrono::milliseconds kC{5};\n"), ["kC"])
        self.assertEqual(self.names("constexpr std::array<double, 2> kD = {1, 2};\n"), ["kD"])
        self.assertEqual(self.names("constexpr std::int32_t kE =\n    kF * 3;\n"), ["kE"])

    def test_comment_on_the_line_or_above(self):
        self.assertEqual(self.names("constexpr int kA = 3;  // rows\n"), [])
        self.assertEqual(self.names("// Rows.\nconstexpr int kA = 3;\nconstexpr int kB = 4;\n"), [])
        self.assertEqual(self.names("constexpr int kA =\n    3;  // rows\n"), [])

    def test_comment_that_belongs_to_something_else(self):
        self.assertEqual(self.names("// Of f.\nvoid f();\nconstexpr int kA = 3;\n"), ["kA"])
        self.assertEqual(self.names("// Of kA.\nconstexpr int kA = 3;\n\nconstexpr int kB = 4;\n"), ["kB"])
        self.assertEqual(self.names("constexpr int kA = 3;\nconstexpr int kB = 4;  // rows\n"), ["kA"])

    def test_other_constants(self):
        self.assertEqual(self.names('constexpr std::string_view kA = "a";\nconst char* const kB = "//";\n'), [])
        self.assertEqual(self.names("enum { kA = 3 };\nint x = kB;\n"), [])
        self.assertEqual(self.names("constexpr auto kC = [](int a) { return a; };\n"), [])
        self.assertEqual(self.names("constexpr auto kC =\n    std::to_array<Name>({});\n"), [])
        self.assertEqual(self.names("constexpr auto kC =\n    static_cast<int>(3);\n"), ["kC"])


class WordsTest(unittest.TestCase):
    def words(self, line, knows_people=True):
        return [word for word, _ in words.banned_words(line, knows_people)]

    def test_prose_and_identifiers(self):
        self.assertEqual(self.words("// all of them but for one"), ["but for"])
        self.assertEqual(self.words("int take_for_done(Row kLuckyRows);"), ["lucky", "take for done"])
        self.assertEqual(self.words("class GhostMatch : GRPCDoor {"), ["ghost", "door"])
        self.assertEqual(self.words('return Error("x is wanted");'), ["is wanted"])
        self.assertEqual(self.words('add({{"door", front_end}});'), [])

    def test_words_that_contain_them(self):
        self.assertEqual(self.words("a newsletter, indoor stretchable override, unlearntable, butfor"), [])

    def test_people_only_where_there_are_some(self):
        self.assertEqual(self.words("the client who asks", knows_people=True), [])
        self.assertEqual(self.words("the sequence who asks", knows_people=False), ["who"])
        self.assertEqual(list(words.check_words(Path("server/a.cc"), "// who asks\n")), [])
        self.assertEqual(len(list(words.check_words(Path("engine/a.cc"), "// who asks\n"))), 1)

    def test_file_names_and_line_breaks(self):
        self.assertEqual(len(list(words.check_words(Path("server/learnt_keeper.h"), ""))), 1)
        broken = list(words.check_words(Path("engine/a.cc"), "// all of them but\n// for one\n"))
        self.assertEqual(len(broken), 1, broken)
        whole = list(words.check_words(Path("engine/a.cc"), "// one\n// but for two\n// three\n"))
        self.assertEqual(len(whole), 1, whole)

    def test_every_pattern_matches_something(self):
        samples = (
            "but for; sets back; nobody; unlucky; softens; taken for done; learnt; one part in; so many; at the most; "
            "ghosts; riders; doors; news; are wanted; may besides; stretches; rests; tells; whom"
        )
        for pattern in {**words.BANNED, **words.BANNED_WITHOUT_PEOPLE}:
            self.assertRegex(samples, rf"\b(?:{pattern})\b")


class FloorsTest(unittest.TestCase):
    def problems(self, name, included):
        return list(floors.check_includes(Path(name), f'// a\n#include "{included}"\n'))

    def test_floors(self):
        self.assertEqual(self.problems("engine/a.cc", "kernels/b.h"), [])
        self.assertEqual(len(self.problems("kernels/a.cc", "engine/b.h")), 1)
        self.assertEqual(len(self.problems("kernels/a.cc", "proto/b.h")), 1)
        self.assertEqual(len(self.problems("engine/a.cc", "text/b.h")), 1)
        self.assertEqual(len(self.problems("engine/speculation/a.cc", "engine/b.h")), 1)
        self.assertEqual(self.problems("tests/a.cc", "server/b.h"), [])

    def test_folders_of_a_floor(self):
        self.assertEqual(self.problems("server/http/a.cc", "server/sessions/b.h"), [])
        self.assertEqual(self.problems("server/http/a.cc", "server/http/b.h"), [])
        self.assertEqual(len(self.problems("server/http/a.cc", "server/grpc/b.h")), 1)
        self.assertEqual(len(self.problems("server/app/a.cc", "server/commands/b.h")), 1)
        self.assertEqual(len(self.problems("text/tokenizer/a.cc", "text/jinja/b.h")), 1)
        self.assertEqual(self.problems("server/main.cc", "server/commands/b.h"), [])

    def test_every_folder_has_a_place(self):
        known = []
        for area, order in floors.FOLDER_ORDER.items():
            known.extend(Path(area) / folder / "a.h" for folders in order for folder in folders)
        self.assertEqual(list(floors.check_folders(known)), [])
        self.assertEqual(len(list(floors.check_folders([*known, Path("server/new/a.h")]))), 1)
        self.assertEqual(len(list(floors.check_folders(known[1:]))), 1)


class EnvironmentTest(unittest.TestCase):
    def clocks(self, name, line):
        return len(list(environment.check_clocks(Path(name), line)))

    def test_clocks(self):
        self.assertEqual(self.clocks("engine/a.cc", "auto a = std::chrono::steady_clock::now();"), 1)
        self.assertEqual(self.clocks("engine/speculation/a.cc", "using Clock = std::chrono::steady_clock;"), 1)
        self.assertEqual(self.clocks("engine/a.cc", "clock_gettime(CLOCK_MONOTONIC, &time);"), 1)
        self.assertEqual(self.clocks("engine/a.h", "std::chrono::steady_clock::time_point arrival;"), 0)
        self.assertEqual(self.clocks("engine/a.cc", "auto a = clock_.now();  // never steady_clock::now()"), 0)
        self.assertEqual(self.clocks("server/a.cc", "std::chrono::steady_clock::now();"), 0)

    def test_environment(self):
        def count(name, line):
            return len(list(environment.check_environment(Path(name), line)))

        self.assertEqual(count("kernels/cuda/a.cc", 'const char* a = std::getenv("A");'), 1)
        self.assertEqual(count("server/app/a.cc", 'const char* a = std::getenv("A");'), 0)
        self.assertEqual(count("kernels/a.cc", "// getenv(x) is not for us"), 0)


class LayoutTest(unittest.TestCase):
    def problems(self, name, text):
        return list(layout.check_layout(Path(name), text))

    def test_good(self):
        self.assertEqual(self.problems("a.cc", "// What it is.\nint f() {\n  return 1;\n}\n"), [])

    def test_each_problem(self):
        opening = "// What it is.\n"
        long_function = "int f() {\n" + "  g();\n" * layout.FUNCTION_LINES_MAX + "}\n"
        for name, text in [
            ("a.cc", "int f();\n"),
            ("a.cc", opening + "int a; \n"),
            ("a.cc", opening + "int a;"),
            ("a.cc", opening + "int a;\r\n\n"),
            ("a.cc", opening + "// " + "a" * layout.COLUMNS_MAX + "\n"),
            ("a.cc", opening + "using namespace std;\n"),
            ("a.cc", opening + "// TO" + "DO\n"),
            ("a.cc", opening * (layout.FILE_LINES_MAX + 1)),
            ("a.h", opening * (layout.HEADER_LINES_MAX + 1)),
            ("a.py", "a = 1\n" * (layout.SCRIPT_LINES_MAX + 1)),
            ("a.cc", opening + long_function),
        ]:
            self.assertNotEqual(self.problems(name, text), [], text[:60])


if __name__ == "__main__":
    unittest.main()
