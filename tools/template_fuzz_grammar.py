"""Random chat templates for make_template_fixtures.py fuzz: programs over the "snippets" context, most of them sound.

What two right implementations may differ in is left out: printing functions and generators (their addresses), integers
beyond 64 bits (an error in ours, on purpose), and what ours refuses by name.
"""

import random

NAMES = [
    "name",
    "text",
    "unicode",
    "numbers",
    "d",
    "people",
    "tool",
    "missing",
    "x",
    "y",
    "ns.a",
    "d.key",
    "d.nested",
    "d.nested.list",
    "people[0]",
    "people[1].name",
    "d.none",
    "tool.function.name",
    "x",
    "y",
    "d.missing",
]
STRINGS = [
    "''",
    "'a'",
    "'abc'",
    "'Hello World'",
    "' pad '",
    "'a,b,,c'",
    "'x\\ny\\n'",
    "'é漢🎉'",
    "'12'",
    "'3.5'",
    "'ß'",
    "'%s|%s'",
    "'A-b (c)'",
    "'{}'",
    '"it\'s"',
    "'\\t'",
    "'nan'",
    "'aXbXc'",
]
NUMBERS = ["0", "1", "2", "3", "-1", "-2", "5", "7", "10", "1.5", "-0.5", "2.0", "0.1", "1e3", "100", "1e16", "2.5"]
METHODS = [
    "upper()",
    "lower()",
    "title()",
    "capitalize()",
    "strip()",
    "lstrip()",
    "rstrip('ab')",
    "strip('x ')",
    "split()",
    "split(',')",
    "split('a', 1)",
    "startswith('a')",
    "endswith('c')",
    "replace('a', 'Q')",
    "replace('', '-')",
    "replace('X', '', 1)",
    "find('b')",
    "keys()|list",
    "values()|list",
    "items()|list",
    "get('key')",
    "get('z', 1)",
    "join(['p', 'q'])",
    "split(none, 1)",
    "startswith(('a', 'H'))",
]
FILTERS = [
    "upper",
    "lower",
    "title",
    "capitalize",
    "trim",
    "length",
    "count",
    "string",
    "int",
    "float",
    "abs",
    "round",
    "round(1)",
    "list",
    "first",
    "last",
    "reverse|list",
    "join",
    "join(', ')",
    "sort",
    "sort(reverse=true)",
    "sort(case_sensitive=true)",
    "unique|list",
    "tojson",
    "tojson(indent=2)",
    "tojson(ensure_ascii=true)",
    "default('D')",
    "default('D', true)",
    "d(1)",
    "replace('a', 'b')",
    "indent",
    "indent(2, true)",
    "indent(1, blank=true)",
    "map('upper')|list",
    "map('string')|list",
    "map('int')|join('+')",
    "map('length')|list",
    "map(attribute='name')|list",
    "map(attribute='name', default='?')|list",
    "select|list",
    "reject|list",
    "select('odd')|list",
    "select('string')|list",
    "reject('none')|list",
    "selectattr('name')|list|length",
    "selectattr('age', '>', 30)|list",
    "rejectattr('age')|list",
    "items|list",
    "dictsort",
    "dictsort(by='value')",
    "dictsort(reverse=true)",
    "escape",
    "safe",
    "e|upper",
    "sort(attribute='name')|first",
    "map('first')|list",
    "int(7)",
    "float(1.25)",
    "trim('a')",
    "list|length",
    "join('-', attribute='name')",
    "map('default', 'q')|list",
    "select('in', [1, 'a'])|list",
    "map('tojson')|join",
    "first|default('none')",
]
TESTS = [
    "defined",
    "undefined",
    "none",
    "string",
    "mapping",
    "sequence",
    "iterable",
    "number",
    "integer",
    "float",
    "boolean",
    "true",
    "false",
    "odd",
    "even",
    "divisibleby(3)",
    "divisibleby 2",
    "eq(1)",
    "ne 1",
    "lt(2)",
    "gt(2)",
    "le(2)",
    "ge('a')",
    "in([1, 2])",
    "in('abc')",
    "equalto('a')",
]
COMPARISONS = ["==", "!=", "<", "<=", ">", ">=", "in", "not in"]
FORMATS = ["'%s'", "'%d'", "'%%%s'", "'%s %s'", "'a%d|%s'"]


class Generator:
    def __init__(self, seed):
        self.random = random.Random(seed)

    def pick(self, items):
        return self.random.choice(items)

    def atom(self):
        kind = self.random.random()
        if kind < 0.4:
            return self.pick(NAMES)
        if kind < 0.65:
            return self.pick(STRINGS)
        if kind < 0.9:
            return self.pick(NUMBERS)
        return self.pick(
            ["true", "false", "none", "[]", "{}", "()", "range(4)", "[1, 2, 3]", "('a', 1)", "{'key': 1, 'b': [2]}"]
        )

    def index(self):
        bounds = [self.pick(["", "0", "1", "-1", "2", "-3", "9"]) for _ in range(2)]
        step = self.pick(["", "", ":1", ":-1"])
        return self.pick(
            [
                f"[{bounds[0]}:{bounds[1]}{step}]",
                f"[{self.pick(['0', '-1', '1', '7'])}]",
                "['key']",
                ".key",
                ".name",
                "[x]",
            ]
        )

    def expression(self, depth):
        if depth <= 0:
            return self.atom()
        sub = lambda: self.expression(depth - 1 - self.random.randrange(2))
        kind = self.random.randrange(21)
        if kind < 3:
            return f"({sub()} {self.pick(['+', '-', '*', '/', '//', '%', '+', '-', '~', '~'])} {sub()})"
        if kind < 6:
            return f"({sub()}){self.index()}"
        if kind < 9:
            return f"({sub()}).{self.pick(METHODS)}"
        if kind < 13:
            return f"({sub()})|{self.pick(FILTERS)}"
        if kind == 13:
            return f"({sub()}) is {self.pick(['', 'not '])}{self.pick(TESTS)}"
        if kind == 14:
            return f"({sub()} {self.pick(COMPARISONS)} {sub()})"
        if kind == 15:
            return f"({sub()} {self.pick(['and', 'or'])} {sub()})"
        if kind == 16:
            return f"({sub()} if {sub()} else {sub()})"
        if kind == 17:
            return f"[{', '.join(sub() for _ in range(self.random.randrange(4)))}]"
        if kind == 18:
            return self.pick(
                [f"{{'k': {sub()}, {self.pick(['1', 'none', '2.0', 'x', 'true'])}: {sub()}}}", f"({sub()}, {sub()})"]
            )
        if kind == 19:
            return f"({self.pick(FORMATS)} % {self.pick([sub(), f'({sub()},)', f'({sub()}, {sub()})'])})"
        return f"({self.pick(['not ', '-', '+'])}{sub()})"

    def text(self):
        return self.pick(["", " ", "\n", "  \n", "word", "\n  ", " - ", "é\n", "a\n\n b", "\t"])

    def tag(self, content):
        return f"{{%{self.pick(['', '', '-', '+'])} {content} {self.pick(['', '', '-', '+'])}%}}"

    def output(self, depth):
        return f"{{{{{self.pick(['', '', '-'])} {self.expression(depth)} {self.pick(['', '', '-'])}}}}}"

    def loop_body(self, depth):
        extra = self.pick(
            [
                "",
                "{{ loop.index }}",
                "{{ loop.last }}",
                "{{ loop.length }}",
                "{{ loop.revindex0 }}",
                "{{ loop.nextitem }}",
                "{{ loop.previtem is defined }}",
                "{{ loop.cycle('p', 'q') }}",
                "{% if loop.index == 2 %}{% break %}{% endif %}",
                "{% if loop.first %}{% continue %}{% endif %}",
                "{{ loop['index0'] }}",
            ]
        )
        return extra + self.body(depth)

    def statement(self, depth):
        if depth <= 0:
            return self.output(1)
        kind = self.random.randrange(13)
        if kind < 3:
            return self.output(depth + 1)
        if kind < 5:
            otherwise = self.pick(
                ["", self.tag("else") + self.body(depth - 1), self.tag(f"elif {self.expression(1)}") + self.text()]
            )
            return self.tag(f"if {self.expression(depth)}") + self.body(depth - 1) + otherwise + self.tag("endif")
        if kind < 8:
            source = self.pick(
                ["numbers", "range(3)", "people", "d", "unicode", "[]", "numbers|map('string')", self.expression(1)]
            )
            condition = self.pick(["", "", f" if {self.expression(1)}", " if x"])
            target = self.pick(
                [f"x in {source}", f"x in {source}", "x, y in d.nested.items()", "(x, y) in [(1, 2), (3, 4)]"]
            )
            otherwise = self.pick(["", self.tag("else") + self.text()])
            return self.tag(f"for {target}{condition}") + self.loop_body(depth - 1) + otherwise + self.tag("endfor")
        if kind == 8:
            return self.tag(f"set {self.pick(['x', 'y', 'ns.a', 'ns.b', 'x, y'])} = {self.expression(depth)}")
        if kind == 9:
            return (
                self.tag(f"set {self.pick(['x', 'y'])}{self.pick(['', ' | upper', ' | trim'])}")
                + self.body(depth - 1)
                + self.tag("endset")
            )
        if kind == 10:
            call = self.pick(["f()", "f(1)", "f(y=2)", f"f({self.expression(1)}, y=3)", "f(1, 2, 3)"])
            return (
                self.tag("macro f(x, y='Y')")
                + self.body(depth - 1)
                + self.tag("endmacro")
                + f"{{{{ {call} }}}}"
            )
        if kind == 11:
            return self.pick(
                [
                    self.tag(f"filter {self.pick(['upper', 'trim', 'length', 'title', 'indent(2)'])}")
                    + self.body(depth - 1)
                    + self.tag("endfilter"),
                    self.tag(f"with x = {self.expression(1)}") + self.body(depth - 1) + self.tag("endwith"),
                    self.tag("generation") + self.body(depth - 1) + self.tag("endgeneration"),
                ]
            )
        return self.pick(
            [
                "{# note #}",
                "{#- note -#}\n",
                "{# a\nb #}\n",
            ]
        )

    def body(self, depth):
        return "".join(self.text() + self.statement(depth) for _ in range(1 + self.random.randrange(2))) + self.text()


def random_template(seed):
    generator = Generator(seed)
    if generator.random.random() < 0.5:
        return "{{ " + generator.expression(3) + " }}"
    prefix = generator.pick(["", "{% set ns = namespace(a=1) %}", "{% set x = 3 %}{% set ns = namespace(a='s') %}"])
    return prefix + generator.body(2 + generator.random.randrange(2))
