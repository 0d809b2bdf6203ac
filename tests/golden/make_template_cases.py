#!/usr/bin/env python3
"""Writes tests/data/template/cases.jsonl: templates, what they are given, what Jinja2 makes of them.

make_template_cases.py OUTPUT

One JSON list a line: [template, names, {"ok": text} | {"raised": message} | {"error": reason}].
Reasons are Python's, for the reader; the test wants only that the template fails. Needs jinja2
(the checked-in file was made with 3.1.6 on Python 3.11); its set-up is make_templates.reference().
"""
import json
import sys

import make_templates

NAMES = {
    "s": "Hello, World", "u": "Grüße ß ﬁ 東京 🙂 Σίσυφος ΣΑΣ", "empty": "", "pad": "  \t a b \n ",
    "n": 42, "neg": -7, "zero": 0, "f": 3.14159, "t": True, "no": False, "none": None,
    "big": 123456789012345678901234567890, "l": [3, 1, 2], "nested": [[1, 2], [3, 4]],
    "words": ["banana", "Apple", "cherry", "apple"], "d": {"b": 1, "a": 2, "C": 3},
    "users": [{"name": "bob", "age": 30, "tags": ["x"]}, {"name": "Al", "age": 25, "tags": []},
              {"name": "cy", "age": 30, "tags": ["y", "z"]}],
    "lines": "one\ntwo\n\nthree\n", "html": "<a href=\"x\">T&amp;C's</a>  and <b>more</b>",
    "items": {"items": [1], "keys": "k", "get": 5, "x": "v"}, "quotes": "it's \"so\" \\ \n\t\x01\x7f",
}

# Each of these is put between {{ and }}.
EXPRESSIONS = """
1
-1
007
1_000
0x1F
0b101
0o17
1.5
1e3
1.5e-7
1E+20
1_0.2_5
123456789.123456789
1e16
1e15
0.0001
0.00001
1e400
-0.0
9223372036854775807
9223372036854775808
-9223372036854775808
'a' 'b' "c"
'\\n\\t\\x41\\u00e9\\U0001F600\\101\\\\\\'"\\q'
"it's"
true, false, none
True and False
None
(1, 2, 3)
(1,)
()
1, 2
[1, 'a', [2.0, none], (3,), {'k': true}]
{'a': 1, "b": [1, 2], 3: 'x', none: 4, 1.5: 5, (1, 2): 6}
{'a': 1, 'a': 2}
{1: 'a', true: 'b', 1.0: 'c'}
{}
[]
['it\\'s', "q\\"", 'both\\'"']
[1, 2,]
1 + 2 * 3 - 4 / 2
7 // 2, -7 // 2, 7 // -2, 7 % 3, -7 % 3, 7 % -3
7.5 // 2, -7.5 // 2, 7.5 % 2, -7.5 % 2, 7.5 % -2
2 ** 10, 2 ** -1, 2 ** 0.5, 2 ** 3 ** 2
-2 ** 2
10 / 4, 10 / 5
1 / 0
1 // 0
1 % 0
1.0 / 0
0 ** -1
true + true, true * 3, -true
'a' + 'b'
'a' + 1
1 + 'a'
'a' * 3, 3 * 'ab', 'a' * -1
[1] + [2], [1] * 2, (1,) + (2,)
[1] + (2,)
'a' ~ 1 ~ none ~ true ~ 1.0 ~ [1]
1 ~ 2 + 3
1 < 2 < 3, 1 < 3 < 2, 3 > 2 >= 2 == 2
1 == 1.0, 1 == true, 'a' == 'a', [1] == [1.0], (1,) == [1], {'a': 1} == {'a': 1.0}
1 != 2, none == false, none == none, '' == none
'a' < 'b', 'a' < 'B', 'a' < 'ab', [1, 2] < [1, 3], (1,) < (1, 0)
1 < 'a'
none < 1
[1] < (1,)
{} < {}
1 in [1, 2], 3 not in [1, 2], 'a' in 'abc', 'x' not in 'abc', 'a' in d, 'z' in d
1 in 'abc'
1 in 5
'b' in d.keys(), 2 in d.values(), ('a', 2) in d.items()
1 and 2, 0 and 2, 1 or 2, 0 or '', not 1, not '', not not 5
true or 1 / 0
false and 1 / 0
'yes' if 1 else 'no'
'yes' if 0
('yes' if 0) is defined
1 if 0 else 2 if 0 else 3
not 1 == 2
-1|abs, (-1)|abs
-n + +n
- -5
+true
-'a'
+none
s[0], s[-1], s[1:3], s[:-1], s[::2], s[::-1], s[-3:], s[10:2:-3], s[100:], s[:100]
u[4], u[-1], u[2:6], u[::-1], u[::3], u[-1:-10:-2]
l[0], l[-1], l[1:], l[::-1], l[5:], l[-100:2]
(1, 2, 3)[1:], range(10)[2:8:2], range(10)[::-1][1]
s[99]
l[99]
l['a']
s['upper']()
d['a'], d.a, d['zz'], d.zz
d.zz.y
d['zz']['y']
d[l]
none[0]
none.x
empty[1:], zero[1:]
n.x
d[1:2]
l[1:2, 3]
l[0, 1]
l['x':]
l[::0]
nested.0, nested[1].0, nested.1[0]
items.items()|list, items['items'], items.keys()|list, items['get'], items.x, items.get('get')
d.__class__
d['__class__'], s.__len__
d._x
missing
missing.x
missing['x']
missing()
missing + 1
1 + missing
missing ~ 'x'
missing == missing, missing == none, missing != 1
missing < 1
-missing
missing or 'x'
not missing
missing in [1], 1 in missing
[missing]
missing|default('x'), none|default('x'), none|default('x', true), ''|d('y', boolean=true)
missing|length, missing|list, missing|upper, missing|join, missing|first, missing|string
missing|tojson
missing|int
missing|abs
missing|items|list, missing|sort, missing|reverse|list, missing|last, missing|trim ~ '.'
missing|dictsort
missing is defined, missing is undefined, missing is none, missing is iterable, missing is sequence
missing is string, missing is mapping, missing is callable, missing is number, missing is boolean
missing is odd
s(1)
n()
d.a()
d.append
l.append(1)
l.append
d.update({'a': 3})
d.pop('a')
l.pop(), 1
l.sort()
range(5), range(2, 5), range(0, 10, 3), range(5, 0, -2)
range(5)|list, range(2, 5)|list, range(0, 10, 3)|list, range(5, 0, -2)|list, range(0)|list
range(1, 1, 0)
range('a')
range(100001)
range(100000)|length
range(3) == range(0, 3), 2 in range(3), range(5)|last, range(5)|first
dict(a=1, b=2), dict([('x', 1)]), dict({'q': 1}, z=2)
dict(1)
namespace(a=1).a, namespace({'x': 5}).x, namespace(a=1).b, namespace(a=1)
namespace(a=1)['a']
joiner()() ~ 'x'
cycler(1, 2).current, cycler(1, 2).next()
cycler()
range is callable, s.upper is callable, s is callable
raise_exception('stop: ' ~ n)
raise_exception(none)
raise_exception()
raise_exception(s, s)
strftime_now('%Y-%m-%d %H:%M:%S')
strftime_now('%d %b %Y'), strftime_now('%B %A %a %j %y %p %I %%')
strftime_now('%e|%-d|%-m|%-H|%-I|%-j|%U|%W|%w|%u|%V|%G|%C|%F|%T|%D|%R|%n|%t|%c|%x|%X|%f|%z|%Z|%h')
strftime_now('plain text')
big, -n, f, t, no, none
big|string, big|tojson, [big], big is number, big is integer, big == big, big > 5
quotes, [quotes], [u]
[s, n, f, t, none, l, d]
d, d.items(), d.keys(), d.values()
{'a': none, 'b': true, 'c': 1.0, 'd': 'x\\'y'}
nested|string
[1.0, 1e100, 1e-5, 123456.789, 0.1, 1/3, 2e16, -0.0]
[0.1 + 0.2, 100 * 1.1, 1e22, 1e21, 5e-324, 1.7976931348623157e308]
(1e308 * 10)|string, -(1e308 * 10)
""".strip("\n").split("\n")

FILTERS = """
n|abs, neg|abs, f|abs, (-1.5)|abs, true|abs
'a'|abs
s|attr('upper') is callable, d|attr('a'), d|attr('items') is callable, (s|attr('upper'))()
missing|attr('x')
l|batch(2)|list, l|batch(2, 'x')|list, []|batch(3)|list, range(7)|batch(3)|list
'hello wORLD'|capitalize, u|capitalize, 'ßa'|capitalize, ''|capitalize, 5|capitalize
'x'|center(5) ~ '|', 'xy'|center(5) ~ '|', 'xyz'|center(2), 'x'|center|length, 'abcd'|center(7) ~ '|'
l|count, s|count, d|length, u|length, ''|length, range(5)|length
n|length
none|length
d|dictsort, d|dictsort(true), d|dictsort(false, 'value'), d|dictsort(reverse=true)
d|dictsort(by='value', reverse=true), {'b': 'B', 'a': 'c'}|dictsort(by='value')
d|dictsort(by='x')
l|dictsort
{1: 2, 'a': 3}|dictsort
html|e, html|escape, 5|e, none|e, html|e|e, html|forceescape
(html|safe)|e, (html|safe) + '<i>', '<i>' + (html|safe), (html|safe) ~ '<i>'
('<b>'|safe) + ('<i>'|safe), ('<b>'|safe) * 2, ['<'|safe], '<'|safe|upper
('%s'|safe) % '<', ('<a>'|safe).replace('a', '<'), '<'|safe|string + '<', ('<'|safe).join(['<', '>'])
('<a>'|safe)[0] + '<', ('a b'|safe).split()[0] + '<', '<'|safe is escaped, '<' is escaped
'<x>'|safe|length, '<x>'|safe|tojson, '<x>'|safe|trim + '<', '<x>'|safe|replace('x', '<') + '<'
'<x>'|safe|join(','), ['<'|safe, '<']|join, '<'|safe == '<', {'<'|safe: 1}['<']
100|filesizeformat, 1|filesizeformat, 1500|filesizeformat, 1500|filesizeformat(true), 10000000|filesizeformat
l|first, s|first, []|first, d|first, u|first, range(3)|first, []|first is undefined
n|first
'1.5'|float, 'x'|float, 'x'|float(2.5), 3|float, true|float, ' 1e3 '|float, 'inf'|float, none|float
'nan'|float, '-Infinity'|float, '1_0.5'|float, '1__0'|float, '.5'|float, '5.'|float, '+1'|float, '--1'|float
'%s and %d'|format('x', 5), '%(a)s-%(b)05.2f'|format(a=1, b=2.5), '%s'|format(l), '%%'|format
'%s %s'|format('x')
'%s'|format('x', 'y')
'%5s|%-5s|%05d|%+d|% d|%x|%X|%#x|%o|%#o|%e|%E|%g|%c|%r|%.2s|%5.1f|%i'|format('a', 'b', 42, 42, 42, 255, 255, 255, 8, 8, 1234.5, 1234.5, 0.00001, 65, 'q', 'xyz', 2.25, 3.9)
'%*d|%-*d|%.*f'|format(5, 42, 5, 42, 1, 2.55)
'%d' % 5.7, '%s' % none, '%s' % [1, 2], '%s %s' % ('a', 1), '%(x)s' % {'x': 1}, 'abc' % [], '%d' % true
'%d' % 'x'
'%z' % 1
'%' % 1
'abc' % 1
'%s' % ()
'%(x)s' % 5
'%(x)s' % {'y': 1}
'%c' % 'ab'
'%x' % 1.5
'%5%|%s' % 'x'
'%.3d|%+.1e|%G|%.0f|%.0f|%.0f' % (5, 12345.678, 1e-10, 0.5, 1.5, 2.5)
'%f|%F|%g|%g|%g' % (1e10, 1.5, 1e15, 100000, 1234567)
'%s' % missing
users|groupby('age')|list, users|groupby('name')|map('first')|list
users|groupby('zz', default='q')|list|length, ['a', 'A', 'b']|groupby(0)|list
['a', 'A', 'b']|groupby(0, case_sensitive=true)|map(attribute='grouper')|list, (users|groupby('age'))[0].grouper, (users|groupby('age'))[0].list|length
lines|indent, lines|indent(2), lines|indent(2, true), lines|indent(2, true, true), lines|indent('> ')
lines|indent(width=3, first=true), ''|indent, 'a'|indent(2, first=true), 'a\\r\\nb\\x0bc'|indent
5|indent
'5'|int, 'x'|int, 'x'|int(7), '0x1F'|int(0, 16), '1F'|int(base=16), 5.9|int, -5.9|int, true|int, none|int
' 12 '|int, '1_000'|int, '1.9'|int, '1e3'|int, ''|int, l|int, '101'|int(0, 2), '0b11'|int(0, 2), '-5'|int, '+5'|int, '0x10'|int
'z'|int(0, 36), '9999999999'|int, 'inf'|int, 'nan'|int(3)
d|items|list, {}|items|list
l|items|list
l|join, l|join(', '), l|join(d='-'), users|join(', ', attribute='name'), 'abc'|join('.'), d|join(','), nested|join('|')
users|join('+', 'age'), [none, true, 1.5]|join(' ')
n|join
l|last, s|last, []|last, d|last, u|last, nested|last|first
l|map('string')|last
l|list, s|list, d|list, u|list, d.items()|list
n|list
s|lower, u|lower, 'ΑΣ'|lower, 'İ'|lower, 5|lower, none|lower, ['A']|lower
s|upper, u|upper, 'ŉ ǰ ΐ ﬃ'|upper, 5|upper
l|map('string')|list, words|map('upper')|join(' '), users|map(attribute='name')|list, users|map(attribute='tags.0')|list
users|map(attribute='zz', default='q')|list, words|map('replace', 'a', 'b')|list, nested|map('first')|list, users|map(attribute='tags')|map('join', '-')|list
[]|map('nofilter')|list
l|map('nofilter')|list
l|map()|list
l|map('string')|length
l|map('string')|tojson
(l|map('string'))[0]
l|map('string') is iterable, l|map('string') is sequence, l|map('string') is string, l|map('string') is mapping
users|map(attribute='name', zz=1)|list
l|max, l|min, words|max, words|min, words|max(case_sensitive=true), []|max is undefined, users|max(attribute='age'), users|min(attribute='name')
[1, 'a']|max
s|max, d|min
l|reject('odd')|list, l|select('odd')|list, l|select|list, [0, 1, '', 'a', none]|select|list, [0, 1]|reject|list
l|select('>', 1)|list, l|select('in', [1, 3])|list, l|reject('equalto', 2)|list, l|select('divisibleby', 3)|list
users|selectattr('age', 'eq', 30)|map(attribute='name')|list, users|rejectattr('tags')|map(attribute='name')|list, users|selectattr('tags')|list|length
users|selectattr('age', 'lt', 30)|first, users|selectattr('zz', 'defined')|list, users|rejectattr('zz', 'defined')|list|length
users|selectattr('name', 'in', ['bob'])|list|length, users|selectattr('tags.0', '==', 'x')|list|length
l|select('notest')|list
l|selectattr()|list
users|selectattr('age', 'lt')|list
l|select('odd')|first, l|select('odd')|list|last, [1, none]|select('odd')|first
[1, none]|select('odd')|list
s|replace('l', 'L'), s|replace('l', 'L', 2), s|replace('', '-'), s|replace('o', ''), 5|replace(5, 6), s|replace('l', 'L', count=1), u|replace('', '.', 3)
s|replace('l')
l|reverse|list, s|reverse, u|reverse, d|reverse|list, range(3)|reverse|list, (l|map('string'))|reverse|list, (1, 2)|reverse|list, d.items()|reverse|list
n|reverse
2.5|round, 3.5|round, 2.675|round(2), 42.55|round(1, 'floor'), 42.51|round(1, 'ceil'), 5|round, 1234|round(-2), 1250.0|round(-2), -2.5|round, 0.5|round, 1.5|round, 2.345|round(2)
f|round(3)|string, 1e20|round, (-1.1)|round(0, 'ceil'), true|round
2.5|round(1, 'x')
'a'|round
html|safe, 5|safe, none|safe
l|slice(2)|list, range(7)|slice(3)|list, range(7)|slice(3, 'x')|list, []|slice(2)|list
l|slice(0)|list
l|sort, words|sort, words|sort(case_sensitive=true), l|sort(reverse=true), users|sort(attribute='age')|map(attribute='name')|list, users|sort(attribute='age,name')|map(attribute='name')|list
words|sort(true), d|sort, 'bca'|sort, users|sort(true, false, 'age')|map(attribute='name')|list, nested|sort(reverse=true), [none, none]|sort, [true, 0]|sort
[1, 'a']|sort
[none, 1]|sort
users|sort
[1, 2.5, 0]|sort, [(2, 'a'), (1, 'b')]|sort
l|string, none|string, 1.0|string, s|string, d|string
html|striptags, 'a <!-- c <b> --> d  \\n e &lt; &amp; &#65; &#x42; &quot;'|striptags, 'a < b'|striptags, 5|striptags
l|sum, users|sum(attribute='age'), l|sum(start=10), []|sum, [1.5, 2]|sum, [[1], [2]]|sum(start=[]), users|sum('age', 5)
['a']|sum
['a']|sum(start='')
'hello wORLD foo-bar (baz) [q] {z} <a'|title, u|title, "it's"|title, ''|title, 'ǆ ß'|title
d|tojson, l|tojson, s|tojson, u|tojson, quotes|tojson, none|tojson, true|tojson, f|tojson, 1.0|tojson, 1e100|tojson, (1, 2)|tojson, html|tojson
nested|tojson(indent=2), d|tojson(indent=0), {}|tojson(indent=2), []|tojson(indent=4), {'a': []}|tojson(indent=1), d|tojson(indent='--'), d|tojson(indent=-1)
d|tojson(separators=(',', ':')), d|tojson(sort_keys=true), u|tojson(ensure_ascii=true), d|tojson(indent=2, separators=(',', ': ')), d|tojson(false, 2), d|tojson(indent=none), d|tojson(indent=true)
{1: 'a', none: 'b', true: 'c', 1.5: 'd'}|tojson, {'x': {'y': [{}]}}|tojson(indent=2), [1e16, 1e-7, big]|tojson, 'a/b\\x7f\\x1f'|tojson, '\\u2028'|tojson
{(1, 2): 3}|tojson
range(3)|tojson
d.items()|tojson
namespace(a=1)|tojson
d|tojson(zz=1)
{'b': 1, 1: 2}|tojson(sort_keys=true)
('inf'|float)|tojson, ('nan'|float)|tojson, (-('inf'|float))|tojson
pad|trim ~ '|', 'xxaxx'|trim('x'), 'xyaxy'|trim('yx'), 5|trim, '\\u00a0a\\u3000'|trim ~ '|', pad|trim(none) ~ '|'
s|truncate(5), s|truncate(5, true), s|truncate(9, false, '..', 0), s|truncate(11), s|truncate(7, leeway=0), s|truncate(8, true, '', 0), ('ab ' * 100)|truncate|length
s|truncate(2)
5|truncate
words|unique|list, [1, 1.0, true, 2]|unique|list, words|unique(true)|list, users|unique(attribute='age')|map(attribute='name')|list, 'aAbB'|unique|join
[[1], [1]]|unique|list
'a b/ü?&=+~'|urlencode, {'a b': 'c&d', 'e': 1}|urlencode, [('a', '/')]|urlencode, 5|urlencode
s|wordcount, u|wordcount, ''|wordcount, "it's a_b c-d"|wordcount, 5|wordcount
s|nofilter
s|upper(1)
s|upper|lower|title|replace('h', 'j')|length
'x'|default|default, 5|default(boolean=true), 0|default(7, true), missing|default(missing) ~ '.', missing|d
s|upper is upper, 'a'|upper ~ 'b'|upper, -1|string ~ 2
'is'|filter
""".strip("\n").split("\n")

TESTS = """
n is defined, n is undefined, none is defined, d.zz is defined, d.a is defined, items.items is defined
n is number, f is number, t is number, s is number, n is integer, t is integer, f is integer, f is float, n is float, t is boolean, n is boolean
s is string, n is string, none is string, l is string, d is mapping, l is mapping, none is mapping
s is sequence, l is sequence, d is sequence, n is sequence, range(3) is sequence, (1,) is sequence, d.keys() is sequence
s is iterable, l is iterable, d is iterable, n is iterable, none is iterable, range(3) is iterable, d.items() is iterable
none is none, n is none, none is not none, n is not none
t is true, n is true, 1 is true, no is false, zero is false
n is odd, n is even, 3 is odd, -3 is odd, -3 is even, 2.0 is even
s is odd
10 is divisibleby 5, 10 is divisibleby(3)
10 is divisibleby 0
'abc' is lower, 'Abc' is lower, 'ABC' is upper, '' is lower, '1' is lower, 'a1' is lower, 5 is upper, 'ß' is lower, 'ǅ' is upper
n is eq 42, n is == 42, n is equalto(42), n is ne 1, n is lt 50, n is gt 50, n is le 42, n is ge 43, n is lessthan(50), n is greaterthan 41
n is eq 42 and true, n is not eq 42 or no
1 is in [1, 2], 5 is in [1, 2], 'a' is in 'abc', 'a' is not in 'abc'
none is sameas none, 1 is sameas 1, true is sameas 1, l is sameas l, [] is sameas [], 'a' is sameas 'a'
'upper' is filter, 'nope' is filter, 'odd' is test, 'nope' is test, 'tojson' is filter
s is nope
s is divisibleby
s is string is string
not n is defined, not missing is defined
'x' if n is defined and n > 1 else 'y'
s is string if true else 1
""".strip("\n").split("\n")

METHODS = """
'a,b,,c'.split(','), 'a,b,,c'.split(',', 1), pad.split(), 'a b  c'.split(' '), ''.split(), ''.split(','), 'a b c d'.split(none, 2), 'aXXbXXc'.split('XX'), 'a b'.split(maxsplit=0), ' a b '.split(maxsplit=1), u.split('東')
'a'.split('')
'a,b,,c'.rsplit(','), 'a,b,,c'.rsplit(',', 1), 'a b  c '.rsplit(), 'a b c d'.rsplit(none, 2), 'aaa'.rsplit('aa'), 'aaa'.split('aa'), ' a b '.rsplit(maxsplit=1), 'x'.rsplit('xy')
pad.strip() ~ '|', pad.lstrip() ~ '|', pad.rstrip() ~ '|', 'xxaxx'.strip('x'), 'xyaxy'.lstrip('yx'), 'xyaxy'.rstrip('yx'), ''.strip(), '東a東'.strip('東'), 'a'.strip('')
'a'.strip(1)
s.startswith('He'), s.startswith('lo'), s.startswith(('x', 'He')), s.startswith('lo', 3), s.startswith('He', 0, 1), s.startswith(''), ''.startswith(''), s.startswith(()), s.startswith('', 50)
s.startswith(1)
s.startswith(['H'])
s.endswith('ld'), s.endswith(('x', 'rld')), s.endswith('lo', 0, 5), s.endswith('x'), u.endswith('ΑΣ')
s.replace('l', 'L'), s.replace('l', 'L', 1), s.replace('l', 'L', -1), s.replace('', '-'), ''.replace('', 'x'), s.replace('zz', 'q'), 'aaa'.replace('aa', 'b'), u.replace('東', '西')
s.replace('l')
s.replace(1, 2)
s.upper(), s.lower(), s.title(), 'hello'.capitalize(), s.swapcase(), 'Straße'.casefold(), "it's o'clock".title(), u.title(), u.swapcase(), 'ΑΣ Σ ΑΣ.'.lower()
s.find('o'), s.find('o', 5), s.find('z'), s.rfind('o'), s.index('o'), s.rindex('l'), s.find(''), s.rfind(''), s.find('l', -4), s.find('o', 0, 4), u.find('東'), u.rfind('Σ'), u.find('東', 3)
s.index('z')
s.rindex('z')
s.count('l'), s.count('l', 5), s.count(''), 'aaaa'.count('aa'), ''.count(''), u.count('σ'), s.count('z')
','.join(['a', 'b']), ''.join('abc'), '-'.join([]), ', '.join(d), '-'.join(words|map('lower'))
','.join([1])
'{} {}'.format(1, 'a'), '{0} {1} {0}'.format('a', 'b'), '{x}'.format(x=5), '{{}}'.format(), '{x[0]} {y.a}'.format(x=[7], y={'a': 1}), '{!r} {!s}'.format('q', 'q')
'{:>5}|{:<5}|{:^5}|{:*^7}|{:05d}|{:+d}|{:x}|{:#x}|{:b}|{:,}|{:_}|{:.2f}|{:e}|{:%}|{:10.3f}|{:g}'.format('a', 'b', 'c', 'd', 42, 42, 255, 255, 5, 1234567, 1234567, 3.14159, 1234.5, 0.25, 2.5, 0.1)
'{:5}|{:5}|{:>{w}}|{:.2}|{:s}|{:d}|{:n}|{:X}|{:o}|{:=+6d}|{: d}'.format('a', 1, 'r', 'xyz', 's', 7, 8, 255, 8, 42, 5, w=4)
'{:5}|{}|{:d}'.format(true, true, true), '{}'.format(none), '{}'.format(l), '{:.3}'.format(3.14159), '{:,.2f}'.format(1234567.891), '{:<08}'.format(5), '{:08.3f}'.format(-2.5), '{:東^5}'.format('x')
'{}'.format()
'{x}'.format(y=1)
'{'.format()
'}'.format()
'{:d}'.format('a')
'{:5}'.format(none)
'{} {0}'.format(1)
'{a.zz}|{a[zz]}'.format(a={})
'{a}'.format_map({'a': 1})
'{0.__class__}'.format(1)
'abc'.isalpha(), 'ab1'.isalpha(), '123'.isdigit(), '²'.isdigit(), '²'.isdecimal(), '½'.isnumeric(), 'ab1'.isalnum(), ' \\t'.isspace(), ''.isspace(), ''.isalpha(), 'é'.isalpha(), '東'.isalpha()
'abc'.islower(), 'aBc'.islower(), 'ABC'.isupper(), 'A1'.isupper(), '1'.isupper(), 'Hello World'.istitle(), 'Hello world'.istitle(), 'abc'.isascii(), 'é'.isascii(), 'a_1'.isidentifier(), '1a'.isidentifier(), 'a\\n'.isprintable(), ''.isascii()
lines.splitlines(), lines.splitlines(true), 'a\\r\\nb\\rc\\x0bd\\u2028e'.splitlines(), ''.splitlines(), '\\n'.splitlines(), 'a\\n\\nb'.splitlines(keepends=true)
s.removeprefix('Hello'), s.removesuffix('World'), s.removeprefix('x'), s.removesuffix(''), s.removeprefix(s)
'a-b-c'.partition('-'), 'a-b-c'.rpartition('-'), 'abc'.partition('-'), 'abc'.rpartition('-'), 'a--b'.partition('--')
'a'.partition('')
'42'.zfill(5), '-42'.zfill(5), '+4'.zfill(4), 'abc'.zfill(2), ''.zfill(2), '東'.zfill(3)
'a'.ljust(3) ~ '|', 'a'.rjust(3), 'a'.center(4) ~ '|', 'ab'.center(5) ~ '|', 'a'.ljust(3, '*'), 'a'.rjust(3, '東'), 'a'.center(3, '-'), 'abc'.center(2), 'a'.ljust(-5)
'a'.ljust(3, 'xx')
'a'.ljust('3')
'a\\tb\\tc'.expandtabs(4), 'a\\tb'.expandtabs(), '\\t'.expandtabs(0) ~ '|', '東\\ta'.expandtabs(tabsize=3)
d.items(), d.keys(), d.values(), d.get('a'), d.get('z'), d.get('z', 5), d.copy(), d.items()|list, d.keys()|list
d.get()
d.get('a', 1, 2)
d.get(l)
d.get(key='a')
l.index(1), l.count(3), l.copy(), (1, 2, 1).count(1), (1, 2).index(2), [1, [2]].index([2]), ['a', 'b', 'a'].index('a', 1)
l.index(99)
(1, 2).copy()
s.nope
s.nope()
s.upper(1)
s.split(sep='o'), s.split(sep='o', maxsplit=1), s.split('o', maxsplit=1)
s.split(zz=1)
s.strip(chars='H')
n.upper()
none.upper()
""".strip("\n").split("\n")

# Whole templates: statements, white space, scopes.
TEMPLATES = [
    "", "text", "text\n", "text\n\n", "a\r\nb\rc\r\n", "{{ 1 }}\n", "{{ 1 }}\n\n", "\n", "{",
    "{ {", "{{ '{{' }}", "{{ '}}' }}", "{{ {'a': {}}}}", "a{# c #}b", "a {#- c -#} b", "a\n{# c #}\nb",
    "a\n  {# c #}\n  b", "{# a\nb #}\nx", "{#-#}x", "{# {% if %} {{ #}y", "{#", "{# unclosed", "{{", "{% if",
    "{{ 'a", "}}", "%}", "#}", "{{ 1 %}", "{% if 1 }}", "{{ }}", "{% %}",
    # white space
    "  {% if t %}\n  a\n  {% endif %}\n  b", "x {% if t %} y {% endif %} z", "{% if t %}\n\n a\n{% endif %}\n\nb",
    "  {%- if t %}\n  a\n  {%- endif %}\n  b", "  {% if t -%}\n  a\n  {% endif -%}\n  b", "  {%+ if t %}\n  a\n  {%+ endif %}\n  b",
    "  {% if t +%}\n  a\n  {% endif +%}\n  b", "a\n  {{ 1 }}\n  {{ 2 }}\n", "a\n  {{- 1 -}}\n  {{- 2 -}}\n b", "a {{- ' b ' -}} c",
    "  {{ 1 }}", "\t{% if t %}x{% endif %}", "a\n\t {% if t %}x{% endif %} \n", "\u00a0{% if t %}x{% endif %}", "a\u2028  {%- if t -%} \u3000 x{% endif %}",
    "{% if t %}{% endif %}\n\n{% if t %}{% endif %}\nx", "{{ 1 -}}\n\n\n x", "{% set a = 1 -%}\n\n x", "a\n\n{%- set a = 1 %}\nx",
    "{% for i in l %}\n  {{ i }}\n{% endfor %}\n", "{% for i in l -%}\n  {{ i }}\n{%- endfor %}\n", "{%- for i in l %}{{ i }}{% if not loop.last %}, {% endif %}{% endfor -%}\n",
    "  {# c #}\n  {% set a = 1 %}\n  x", "  {#- c #}\n  x", "a  {#+ c +#}\n  x", "a\n  {%+ raw %}\n x {% endraw %}\n  b", "{% raw %}{{ x }}{% if %}{% endraw %}", "{%- raw -%}  {{ a }}  {%- endraw -%}  b",
    "a {% raw %}\n  b\n  {% endraw %}\n c", "  {% raw %} {# x #} {%- endraw +%}\n y", "{% raw %}", "{% raw %}{% endraw", "{% raw %}{%- endraw%}x",
    "{% raw\n%}x{%\nendraw %}", "a{% raw %}{% endraw %}b", "{{- 1 }}", "\n\n{{- 1 }}", "{%- if t -%}{%- endif -%}", "{% if t -%} {%- endif %}|",
    "x\n{%- if t %}\n\ny\n\n{%- endif %}\n\nz", "{% if t %}a{% else %}\n b{% endif %}\n", "a  {% if t %}b{% endif %}", "line {{ 1 }}\n{% if t %}\n  two\n{% endif %}\nthree\n",
    # if
    "{% if n %}a{% elif s %}b{% else %}c{% endif %}", "{% if zero %}a{% elif s %}b{% else %}c{% endif %}", "{% if zero %}a{% elif empty %}b{% elif none %}d{% else %}c{% endif %}", "{% if zero %}a{% endif %}",
    "{% if l %}1{% endif %}{% if [] %}2{% endif %}{% if {} %}3{% endif %}{% if '' %}4{% endif %}{% if 0.0 %}5{% endif %}{% if missing %}6{% endif %}{% if range(0) %}7{% endif %}{% if [0] %}8{% endif %}{% if l|select('odd') %}9{% endif %}",
    "{% if n, %}t{% endif %}", "{% if t: %}a{% else: %}b{% endif %}", "{% if %}{% endif %}", "{% if t %}", "{% endif %}", "{% if t %}{% endfor %}", "{% else %}", "{% elif t %}", "{% if t %}a{% else %}b{% elif n %}c{% endif %}", "{% nope %}", "{% if t %}{% set q = 1 %}{% endif %}{{ q }}",
    "{% if t if n else s %}a{% endif %}", "{% if no %}{{ 1|nofilter }}{% endif %}ok", "{% if t %}{{ 1|nofilter }}{% endif %}ok", "{{ 1|nofilter if no }}ok", "{{ 1 if t else 2|nofilter }}", "{% if no %}{% for i in l %}{{ i|nofilter }}{% endfor %}{% endif %}", "{% if 1 is nope and no %}{% endif %}", "{% macro m() %}{{ 1|nofilter }}{% endmacro %}ok",
    # for
    "{% for i in l %}{{ i }}{% endfor %}", "{% for i in [] %}x{% else %}none{% endfor %}", "{% for i in l %}x{% else %}none{% endfor %}", "{% for a, b in nested %}{{ a }}-{{ b }};{% endfor %}", "{% for (a, b) in nested %}{{ a }}{{ b }}{% endfor %}", "{% for a, (b, c) in [[1, [2, 3]]] %}{{ a }}{{ b }}{{ c }}{% endfor %}",
    "{% for a, b in l %}x{% endfor %}", "{% for a, b, c in nested %}x{% endfor %}", "{% for a in nested %}{{ a }}{% endfor %}", "{% for k, v in d.items() %}{{ k }}={{ v }},{% endfor %}", "{% for k in d %}{{ k }}{% endfor %}", "{% for k, v in d|items %}{{ k }}{{ v }}{% endfor %}", "{% for c in s %}{{ c }}.{% endfor %}", "{% for c in u %}{{ c }}.{% endfor %}", "{% for k, v in d|dictsort %}{{ k }}{{ v }}{% endfor %}",
    "{% for i in n %}x{% endfor %}", "{% for i in none %}x{% endfor %}", "{% for i in missing %}x{% else %}e{% endfor %}", "{% for i in 1, 2, 3 %}{{ i }}{% endfor %}", "{% for i in (1, 2) %}{{ i }}{% endfor %}", "{% for i, in [[1], [2]] %}{{ i }}{% endfor %}", "{% for i in l if i > 1 %}{{ i }}:{{ loop.index }}/{{ loop.length }},{% endfor %}", "{% for i in l if i > 9 %}x{% else %}none{% endfor %}",
    "{% for i in l %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.depth }}{{ loop.depth0 }};{% endfor %}", "{% for i in l %}{{ loop.previtem }}<{{ i }}>{{ loop.nextitem }};{% endfor %}", "{% for i in l %}{{ loop.previtem is defined }}{{ loop.nextitem is defined }}{% endfor %}", "{% for i in l %}{{ loop.cycle('a', 'b') }}{% endfor %}", "{% for i in [1, 1, 2, 2, 1] %}{{ loop.changed(i) }},{% endfor %}", "{% for i in l %}{{ loop.cycle() }}{% endfor %}", "{% for i in l %}{{ loop.nope }}{% endfor %}|", "{% for i in l %}{{ loop['index'] }}{% endfor %}",
    "{% for i in l|select('odd') %}{{ loop.index }}/{{ loop.length }}{{ loop.last }},{% endfor %}", "{% for i in l|map('string') %}{{ loop.revindex }}{{ i }}{{ loop.nextitem }},{% endfor %}", "{% set g = l|select %}{{ g|list }}{{ g|list }}", "{% set g = l|map('string') %}{% for x in g %}{{ x }}{% if loop.first %}{{ g|first }}{% endif %},{% endfor %}", "{% set g = l|select('odd') %}{{ 1 in g }}{{ g|list }}",
    "{% for i in l %}{% for j in l %}{{ loop.index }}{% endfor %}{{ loop.index }};{% endfor %}", "{% for i in l %}{% set outer = loop %}{% for j in 'ab' %}{{ outer.index }}{{ loop.index }},{% endfor %}{% endfor %}", "{% for i in range(10) %}{% if i == 2 %}{% continue %}{% endif %}{% if i == 5 %}{% break %}{% endif %}{{ i }}{% endfor %}", "{% for i in l %}{% break %}{% else %}e{% endfor %}", "{% for i in l %}{% continue %}{% else %}e{% endfor %}", "{% for i in l %}{% if loop.first %}{% continue %}{% endif %}x{% else %}e{% endfor %}", "{% break %}", "{% continue %}", "{% for i in l %}{% macro m() %}{% break %}{% endmacro %}{% endfor %}", "{% for a in l %}{{ a }}{% for b in [] %}{% else %}{% break %}{% endfor %}{% endfor %}", "{% for i in l %}a{% set x %}b{% break %}c{% endset %}d{% endfor %}{{ x }}", "{% for i in l %}a{% filter upper %}b{% continue %}c{% endfilter %}d{% endfor %}", "{% for i in l %}{% with %}{% break %}{% endwith %}{% endfor %}ok",
    "{% for x in nested recursive %}{% if x is iterable %}[{{ loop(x) }}]{% else %}{{ x }}@{{ loop.depth }}{% endif %}{% endfor %}", "{% for x in [{'n': 1, 'c': [{'n': 2, 'c': []}]}] recursive %}{{ x.n }}({{ loop(x.c) }}){% else %}-{% endfor %}", "{% for i in l %}{{ loop(l) }}{% endfor %}", "{% for x in [[1, 2], 3] if x recursive %}{{ loop(x) if x is iterable else x }},{% endfor %}",
    "{% set x = 1 %}{% for i in l %}{% set x = i %}{{ x }}{% endfor %}{{ x }}", "{% set x = 0 %}{% for i in l %}{% set x = x + i %}{{ x }},{% endfor %}{{ x }}", "{% set ns = namespace(x=0) %}{% for i in l %}{% set ns.x = ns.x + i %}{% endfor %}{{ ns.x }}", "{% for i in l %}{{ y }}{% set y = i %}{{ y }}{% endfor %}{{ y }}", "{% for i in l %}{% if i == 1 %}{% set z = 'one' %}{% endif %}{{ z }},{% endfor %}", "{% for n in l %}{{ n }}{% endfor %}{{ n }}", "{% for loop in l %}{% endfor %}", "{% for i in l %}{% set loop = 1 %}{% endfor %}", "{{ loop }}|", "{% for i in l %}{% endfor %}{{ i }}|", "{% for true in l %}{% endfor %}", "{% for 1 in l %}{% endfor %}", "{% for i l %}{% endfor %}", "{% for i in l %}", "{% for a.b in l %}{% endfor %}", "{% for i in l %}{{ loop|length }}{% endfor %}", "{% for k, v in d.items() %}{{ loop.last }}{% if not loop.last %},{% endif %}{% endfor %}", "{% for i in range(3) if loop is defined %}{{ i }}{% endfor %}|", "{% for i in l %}{% for j in [loop.index] if j != 2 %}{{ j }}{% endfor %}{% endfor %}",
    # set
    "{% set a = 1 %}{{ a }}", "{% set a, b = 1, 2 %}{{ a }}{{ b }}", "{% set (a, b) = [1, 2] %}{{ a }}{{ b }}", "{% set a = 1, 2 %}{{ a }}", "{% set a, b = 1 %}", "{% set a, b = [1] %}", "{% set a %}x {{ n }} y{% endset %}[{{ a }}]", "{% set a | upper %}x {{ n }} y{% endset %}[{{ a }}]", "{% set a | upper | replace('X', 'z') %}xyx{% endset %}{{ a }}", "{% set d.x = 1 %}", "{% set ns = namespace() %}{% set ns.a = 1 %}{% set ns.b = ns.a + 1 %}{{ ns.a }}{{ ns.b }}{{ ns.c }}", "{% set ns = namespace(a=1) %}{% set ns.a, ns.b = 5, 6 %}{{ ns.a }}{{ ns.b }}", "{% set missing.x = 1 %}", "{% set ns = namespace() %}{% set ns.x %}body{% endset %}{{ ns.x }}", "{% set true = 1 %}", "{% set 'a' = 1 %}", "{% set a[0] = 1 %}", "{% set a = %}", "{% set a %}", "{% set n = n + 1 %}{{ n }}", "{% set a = a %}[{{ a }}]", "{% set x %}{% set y = 1 %}{{ y }}{% endset %}{{ x }}{{ y }}", "{% set ns = namespace(l=[]) %}{% for i in l %}{% set ns.l = ns.l + [i] %}{% endfor %}{{ ns.l }}", "{% set a = 1 %}{% if t %}{% set a = 2 %}{% endif %}{{ a }}", "{% set messages = l[1:] %}{{ messages }}", "{% set a = b = 1 %}",
    "{% macro m() %}{{ n }}{% endmacro %}{{ m() }}{% set n = 5 %}{{ m() }}", "{% for i in [1] %}{{ s }}{% endfor %}{% set s = 'new' %}{{ s }}", "{% if t %}{% set s = 'new' %}{% endif %}{{ s }}", "{% if no %}{% set s = 'new' %}{% endif %}{{ s }}", "{{ s }}{% macro m() %}{{ s }}{% endmacro %}{{ m() }}{% set s = 'new' %}{{ m() }}",
    # macros
    "{% macro m(a, b=2, c='x') %}{{ a }}{{ b }}{{ c }}{% endmacro %}{{ m(1) }}|{{ m(1, 3) }}|{{ m(1, c='z') }}|{{ m(b=5, a=4) }}|{{ m() }}", "{% macro m(a) %}{{ a is defined }}{{ a }}{% endmacro %}{{ m() }}", "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, 2) }}", "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(z=1) }}", "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, a=2) }}", "{% macro m() %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1, 2, x=3) }}", "{% macro m(a) %}{{ a }}{{ varargs }}{% endmacro %}{{ m(1, 2, 3) }}", "{% macro m(a) %}{{ kwargs.x }}{{ a }}{% endmacro %}{{ m(x=1, a=2) }}", "{% macro m(a, b=a) %}{{ a }}{{ b }}{% endmacro %}{{ m(1) }}", "{% macro m(a=b, b=2) %}{{ a }}{{ b }}{% endmacro %}{{ m() }}|{{ m(b=3) }}", "{% macro m(a, a) %}{% endmacro %}", "{% macro m(a=1, b) %}{% endmacro %}", "{% macro fact(x) %}{% if x <= 1 %}1{% else %}{{ x * fact(x - 1)|int }}{% endif %}{% endmacro %}{{ fact(10) }}", "{{ m() }}{% macro m() %}x{% endmacro %}", "{% macro m() %}  x\n{% endmacro %}[{{ m() }}]", "{% macro m() -%}  x\n{%- endmacro %}[{{ m() }}]", "{% macro m() %}{% set q = 1 %}{{ q }}{% endmacro %}{{ m() }}{{ q }}", "{% macro m(x) %}{{ x }}{% endmacro %}{{ m }}"[:0] + "{% macro m(x, y) %}{% endmacro %}{{ m.name }}{{ m.arguments }}{{ m.catch_kwargs }}{{ m.catch_varargs }}{{ m.caller }}",
    "{% macro m() %}[{{ caller() }}]{% endmacro %}{% call m() %}body{% endcall %}", "{% macro m(x) %}[{{ caller(x, 2) }}]{% endmacro %}{% call(a, b=0) m(1) %}{{ a }}{{ b }}{% endcall %}", "{% macro m() %}[{{ caller is defined }}]{% endmacro %}{{ m() }}{% call m() %}x{% endcall %}", "{% macro m() %}x{% endmacro %}{% call m() %}y{% endcall %}", "{% macro m() %}{{ caller() }}{% endmacro %}{{ m() }}", "{% call m %}{% endcall %}", "{% macro a() %}<{{ caller() }}>{% endmacro %}{% macro b() %}{% call a() %}{{ caller is defined }}{% endcall %}{% endmacro %}{{ b() }}", "{% macro m(caller) %}{{ caller() }}{% endmacro %}", "{% macro m(caller=none) %}{{ caller() if caller }}.{% endmacro %}{{ m() }}{% call m() %}c{% endcall %}", "{% macro m() %}{% for i in l %}{{ caller(i) }}{% endfor %}{% endmacro %}{% call(x) m() %}({{ x }}){% endcall %}", "{% for i in l %}{% macro m() %}{{ i }}{{ loop.index }}{% endmacro %}{{ m() }},{% endfor %}", "{% macro outer() %}{% macro inner() %}in{% endmacro %}{{ inner() }}{% endmacro %}{{ outer() }}", "{% macro m(*a) %}{% endmacro %}", "{% macro m(l) %}{% for i in l %}{{ i }}{% endfor %}{% endmacro %}{{ m(*[[9, 8]]) }}{{ m(**{'l': [7]}) }}", "{{ dict(**{'a': 1}) }}{{ range(*[1, 3])|list }}", "{{ range(*5) }}", "{{ dict(**5) }}", "{{ dict(**{1: 2}) }}", "{{ dict(a=1, a=2) }}", "{{ range(a=1, 2) }}", "{{ range(1,) }}", "{{ m(,) }}", "{% macro m() %}{{ m2() }}{% endmacro %}{% macro m2() %}two{% endmacro %}{{ m() }}", "{% macro m(a) %}{{ a|upper }}{% endmacro %}{{ m('x') ~ m('y') }}{{ m('<')|e }}{{ m('ab')|length }}",
    "{% macro r(d) %}{% for k, v in d.items() %}{{ k }}:{% if v is mapping %}({{ r(v) }}){% else %}{{ v }}{% endif %}{% endfor %}{% endmacro %}{{ r({'a': {'b': {'c': 1}}, 'd': 2}) }}",
    # filter blocks, with, print, generation
    "{% filter upper %}a{{ s }}{% endfilter %}", "{% filter replace('a', 'b')|upper %}aXa{% endfilter %}", "{% filter nofilter %}{% endfilter %}", "{% filter %}{% endfilter %}", "{% filter trim %}  a {% set q = 1 %} {% endfilter %}{{ q }}", "{% with a = 1, b = 2 %}{{ a }}{{ b }}{% endwith %}{{ a }}", "{% with %}{% set z = 1 %}{{ z }}{% endwith %}{{ z }}", "{% set a = 9 %}{% with a = 1, b = a %}{{ b }}{% endwith %}", "{% with a, b = 1, 2 %}{% endwith %}", "{% with (a, b) = (1, 2) %}{{ a }}{{ b }}{% endwith %}", "{% print 1, s %}", "{% print %}|", "{% generation %}a{{ s }}{% set g = 1 %}{% endgeneration %}{{ g }}", "{% for i in l %}{% generation %}{{ i }}{{ loop.index }}{% endgeneration %}{% endfor %}", "{% for i in l %}{% generation %}{% break %}{% endgeneration %}{% endfor %}", "{% generation %}{{ caller }}{% endgeneration %}|", "{% do x %}",
    "{% set j = joiner('; ') %}{% for i in l %}{{ j() }}{{ i }}{% endfor %}", "{% set c = cycler('a', 'b') %}{% for i in l %}{{ c.next() }}{% endfor %}{{ c.current }}{{ c.reset() }}{{ c.current }}{{ c.pos }}", "{% set c = cycler(1, 2, 3) %}{{ c.next() }}{{ c.next() }}{{ c.next() }}{{ c.next() }}",
    # chat-shaped
    "{% for m in users %}{{ '<|' + m['name'] + '|>' + '\\n' + m.tags|join(',') + '\\n' }}{% endfor %}", "{%- if users[0]['name'] == 'bob' -%}\n{%- set first = users[0] -%}\n{%- set rest = users[1:] -%}\n{%- else -%}\n{%- set rest = users -%}\n{%- endif -%}\n{{ first.name }}:{{ rest|length }}", "{%- for m in users[::-1] %}{{ loop.index0 }}{{ m.name }}{% endfor %}", "{{ users|selectattr('age', 'equalto', 30)|map(attribute='name')|join(' & ') }}", "{% set ns = namespace(found=false) %}{% for m in users %}{% if m.age == 25 and not ns.found %}{% set ns.found = true %}{{ m.name }}{% endif %}{% endfor %}{{ ns.found }}", "{{ raise_exception('Roles must alternate') if users[0].name != 'x' }}", "{% if not (users[0].name == 'bob') %}{{ raise_exception('no') }}{% endif %}fine", "{% if (users[0]['name'] == 'bob') != (loop0 % 2 == 0) %}x{% endif %}", "{{ users[0].tags is not string and users[0].tags is iterable }}", "{{ '<think>\\n\\n</think>\\nhi'.split('</think>')[-1].lstrip('\\n') }}", "{{ ('a</think>b' if '</think>' in 'a</think>b' else '').split('</think>')[0].rstrip('\\n').split('<think>')[-1] }}",
    # syntax errors and limits of the grammar
    "{{ 1 + }}", "{{ (1 }}", "{{ [1, 2 }}", "{{ {1: } }}", "{{ {1} }}", "{{ a. }}", "{{ a.1 }}", "{{ a[] }}", "{{ a|", "{{ a| }}", "{{ a is }}", "{{ not }}", "{{ 1 2 }}", "{{ a b }}", "{{ a ? b : c }}", "{{ 'x' if }}", "{{ @ }}", "{{ a ! b }}", "{{ a && b }}", "{{ 1 <> 2 }}", "{{ ) }}", "{{ (] }}", "{{ x = 1 }}", "{{ lambda }}", "{{ if }}", "{{ '\\x4' }}", "{{ '\\u12' }}", "{% include 'x' %}", "{% import 'x' as y %}", "{% from 'x' import y %}", "{% extends 'x' %}", "{{ self }}"[:0], "{{ 1.foo }}|", "{{ 1..2 }}", "{{ 1.e5 }}|", "{{ ünïcode }}|", "{% set über = 1 %}{{ über }}", "{{ '\N{SNOWMAN}' }}", "{{ \"a\nb\" }}", "{{ 'a\r\nb' }}", "{{\n1\n+\n2\n}}", "{{ 1 }}{# c #}{{ 2 }}{% set a = 3 %}{{ a }}", "{{ [1,2,3][0] }}{{ (1,2)[1] }}{{ {'a':1}.a }}{{ 'abc'[1] }}{{ 'abc'.upper() }}", "{{ a[1:2:3:4] }}", "{{ d['a' 'b'] }}|", "{{ -s|length }}", "{{ 2 * 3|string }}", "{{ (1 if t) ~ (2 if no) }}", "{{ [x for x in l] }}", "{{ {**d} }}", "{{ f(*l, 1) }}", "{{ l is iterable and l is not string }}", "{{ not l is string }}", "{{ 1 if not no and not none else 0 }}", "{{ 'a' not in 'b' and 'c' in 'cd' }}", "{{ n if n is defined else 'u' }}{{ q if q is defined else 'u' }}", "{{ 1 == 1 and 2 != 3 or 4 }}", "{{ ((((1)))) }}", "{{ [[[[]]]] }}", "{{ 5|string|int + 5 }}", "{{ l|length > 2 }}", "{{ n ~ ' ' ~ s|upper }}", "{{ 'x' * 3 ~ 'y' }}", "{{ 1 + 1 ~ 1 + 1 }}", "{{ '%d%%' % 50 }}", "{{ 1 if 2 if 0 else 3 else 4 }}",
]


def cases():
    for group in (EXPRESSIONS, FILTERS, TESTS, METHODS):
        for expression in group:
            yield "{{ " + expression.replace("\\\\", "\\") + " }}"
    yield from (t for t in TEMPLATES)


def main():
    env = make_templates.reference()
    seen = set()
    with open(sys.argv[1], "w", encoding="utf-8") as f:
        f.write(json.dumps(NAMES, ensure_ascii=False) + "\n")
        for text in cases():
            if text in seen:
                continue
            seen.add(text)
            try:
                want = make_templates.outcome(env.from_string(text), NAMES)
            except Exception as e:  # refused when compiled
                want = {"error": f"{type(e).__name__}: {e}"}
            if "ok" in want and " at 0x" in want["ok"]:
                print(f"left out, an address: {text!r}: {want}")
                continue
            f.write(json.dumps([text, want], ensure_ascii=False) + "\n")
    print(len(seen), "cases")


if __name__ == "__main__":
    main()
