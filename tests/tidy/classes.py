"""Sizes of classes: data members, methods, virtual functions.

A scanner that knows just enough C++ for this: it splits a class body into its declarations by braces, parentheses and
semicolons. Static data, type aliases, friends and assertions are no members. A function that is defaulted or deleted
is no method; constructors, operators and each overload are. A nested class counts for itself.
"""

import re
from dataclasses import dataclass, field

from source import code_only

MEMBERS_MAX = 20
METHODS_MAX = 30
VIRTUALS_MAX = 15

# Structs without methods that may have more members, with the reason. Keep it short: a list of fields that always
# travel together is a struct of its own.
PLAIN_DATA = {
    "GenerationRequest": "one member for each field of a request, whatever the API",
}

_TOKEN = re.compile(r"[A-Za-z_]\w*|\d[\w.']*|::|->|\[\[|\]\]|.", re.DOTALL)
_SKIPPED_STARTS = {"using", "typedef", "friend", "static_assert"}
_CLASS_KEYS = {"class", "struct", "union"}
_ACCESS = {"public", "private", "protected"}
_ANNOTATION = re.compile(r"[A-Z][A-Z0-9_]{2,}")
_OPEN = {"(": ")", "[": "]", "{": "}", "[[": "]]"}


@dataclass
class ClassSize:
    name: str
    line: int
    members: list = field(default_factory=list)
    methods: list = field(default_factory=list)
    virtuals: list = field(default_factory=list)


def _tokens(text):
    line = 1
    tokens = []
    for match in _TOKEN.finditer(code_only(text)):
        value = match.group(0)
        if value == "\n":
            line += 1
        elif not value.isspace():
            tokens.append((value, line))
    return tokens


class _Scanner:
    def __init__(self, text):
        self.tokens = _tokens(text)
        self.found = []

    def value(self, at):
        return self.tokens[at][0] if 0 <= at < len(self.tokens) else ""

    def matching(self, at):
        """The index of the bracket that closes the one at `at`; the end of the file if there is none."""
        opener = self.value(at)
        closer = _OPEN[opener]
        depth = 0
        while at < len(self.tokens):
            if self.value(at) == opener:
                depth += 1
            elif self.value(at) == closer:
                depth -= 1
                if depth == 0:
                    return at
            at += 1
        return at

    def angle_end(self, at):
        """The index of the `>` that closes the `<` at `at`."""
        depth = 0
        while at < len(self.tokens):
            value = self.value(at)
            if value in _OPEN:
                at = self.matching(at)
            elif value == "<":
                depth += 1
            elif value == ">":
                depth -= 1
                if depth == 0:
                    return at
            at += 1
        return at

    def scan(self, begin, end, scope):
        """Finds class definitions anywhere in [begin, end)."""
        at = begin
        while at < end:
            value = self.value(at)
            if value == "template" and self.value(at + 1) == "<":
                at = self.angle_end(at + 1)
            elif value == "enum":
                at = self.skip_enum(at)
            elif value in _CLASS_KEYS:
                body = self.class_body(at)
                if body is not None:
                    name, opening = body
                    closing = self.matching(opening)
                    self.read_class(name, opening, closing, scope)
                    at = closing
            at += 1

    def skip_enum(self, at):
        while self.value(at) not in ("{", ";", ""):
            at += 1
        return self.matching(at) if self.value(at) == "{" else at

    def class_body(self, at):
        """(name, index of the brace) of the definition that the keyword at `at` begins, or None."""
        at += 1
        name = ""
        while self.value(at) in ("alignas", "[["):
            at = self.matching(at + 1 if self.value(at) == "alignas" else at) + 1
        while re.match(r"[A-Za-z_]|::", self.value(at)):
            if self.value(at) != "final":
                name += self.value(at)
            at += 1
            if self.value(at) == "<":
                at = self.angle_end(at) + 1
        if self.value(at) == ":":  # bases
            while self.value(at) not in ("{", ";", ""):
                at = self.angle_end(at) + 1 if self.value(at) == "<" else at + 1
        return (name or "(unnamed)", at) if self.value(at) == "{" else None

    def read_class(self, name, opening, closing, scope):
        size = ClassSize(scope + name, self.tokens[opening][1])
        self.found.append(size)
        at = opening + 1
        while at < closing:
            at = self.read_declaration(size, at, closing)

    def read_declaration(self, size, at, closing):
        """Reads one declaration of a class body; the index behind it."""
        while self.value(at) == "template" and self.value(at + 1) == "<":
            at = self.angle_end(at + 1) + 1
        if self.value(at) == "requires":
            at = self.after_requires(at)
        value = self.value(at)
        if value in _ACCESS and self.value(at + 1) == ":":
            return at + 2
        if value == ";":
            return at + 1
        if value == "enum":
            return self.skip_enum(at) + 1
        if value in _CLASS_KEYS:
            body = self.class_body(at)
            if body is not None:
                name, opening = body
                end = self.matching(opening)
                self.read_class(name, opening, end, size.name + "::")
                if self.value(end + 1) not in (";", ""):  # struct {…} x;
                    size.members.append(self.value(end + 1))
                return end + 1
        if value in _SKIPPED_STARTS:
            return self.statement_end(at, closing)
        return self.read_member(size, at, closing)

    def after_requires(self, at):
        at += 1
        while self.value(at) not in ("{", ";", ""):
            if self.value(at) == "(":
                return self.matching(at) + 1
            at = self.angle_end(at) + 1 if self.value(at) == "<" else at + 1
            if self.value(at - 1) == ">":
                return at
        return at

    def statement_end(self, at, closing):
        while at < closing and self.value(at) != ";":
            at = self.matching(at) + 1 if self.value(at) in _OPEN else at + 1
        return at + 1

    def read_member(self, size, at, closing):
        """A function or data. A function has a parameter list before any `=`, `{` or `;`."""
        begin = at
        while at < closing:
            value = self.value(at)
            if value == "[[":
                at = self.matching(at)
            elif value in ("alignas", "__attribute__", "__launch_bounds__", "explicit") and self.value(at + 1) == "(":
                at = self.matching(at + 1)
            elif value == "operator":
                return self.read_function(size, begin, self.operator_parameters(at), closing, "operator")
            elif value == "<":
                at = self.angle_end(at)
            elif value == "(" and self.value(at + 1) == "*":  # void (*pointer)(int)
                return self.read_data(size, begin, self.matching(at), closing)
            elif value == "(" and _ANNOTATION.fullmatch(self.value(at - 1)):
                at = self.matching(at)
            elif value == "(":
                return self.read_function(size, begin, at, closing, self.value(at - 1))
            elif value in ("=", "{", ";", ":", ",", "["):
                return self.read_data(size, begin, at, closing)
            at += 1
        return at

    def operator_parameters(self, at):
        at += 1
        if self.value(at) == "(" and self.value(at + 1) == ")":
            return at + 2
        while self.value(at) != "(":
            at += 1
        return at

    def read_function(self, size, begin, parameters, closing, name):
        at = self.matching(parameters) + 1
        is_method = True
        in_initializers = False
        while at < closing:
            value = self.value(at)
            if value == ";":
                at += 1
                break
            if value == "=" and self.value(at + 1) in ("default", "delete"):
                is_method = False
            if value == ":":
                in_initializers = True
            if value == "{":
                is_initializer = in_initializers and re.match(r"[A-Za-z_>]", self.value(at - 1))
                at = self.matching(at)
                if not is_initializer:
                    at += 1
                    break
            elif value in ("(", "[", "[["):
                at = self.matching(at)
            at += 1
        if is_method:
            size.methods.append(name)
            is_destructor = self.value(parameters - 2) == "~"
            if not is_destructor and any(self.value(i) == "virtual" for i in range(begin, parameters)):
                size.virtuals.append(name)
        return at

    def read_data(self, size, begin, at, closing):
        end = self.statement_end(at, closing)
        if any(self.value(i) in ("static", "constexpr") for i in range(begin, at)):
            return end
        names = [self.value(at - 1)]
        while at < end:  # int a = 0, b = 0;
            value = self.value(at)
            if value in _OPEN:
                at = self.matching(at)
            elif value == "<":
                at = self.angle_end(at)
            elif value == ",":
                names.append(self.value(at + 1))
            at += 1
        size.members.extend(names)
        return end


def class_sizes(text):
    """A ClassSize for every class, struct and union that the text defines."""
    scanner = _Scanner(text)
    scanner.scan(0, len(scanner.tokens), "")
    return scanner.found


def check_classes(name, text, sizes=None):
    """Yields what is too large. `sizes` collects the classes for the summary."""
    for size in class_sizes(text):
        if sizes is not None:
            sizes.append((name, size))
        where = f"{name}:{size.line}: {size.name}"
        is_plain = not size.methods
        if len(size.members) > MEMBERS_MAX and not (is_plain and size.name in PLAIN_DATA):
            yield f"{where} has {len(size.members)} data members (at most {MEMBERS_MAX})"
        if len(size.methods) > METHODS_MAX:
            yield f"{where} has {len(size.methods)} methods (at most {METHODS_MAX})"
        if len(size.virtuals) > VIRTUALS_MAX:
            yield f"{where} has {len(size.virtuals)} virtual functions (at most {VIRTUALS_MAX})"
