"""`setup.py` read from its syntax tree: what can be told, what cannot, and that nothing runs."""

import textwrap
from pathlib import Path
from typing import Any

import hypothesis
import hypothesis.strategies as st
import pytest

from fc_assets.packages import setup_py

_FILES = {
    "requirements.txt": "# what it needs\nnumpy>=1.20  # arrays\n\nscipy\n",
    "requirements/base.txt": "six\n",
}


def _read(source: str) -> setup_py.Setup:
    return setup_py.parse(textwrap.dedent(source), _FILES.get)


def _needs(source: str) -> Any:
    """The dependencies, or None if they are known not to be readable."""
    found = _read(source)
    assert found.failure is None
    assert ("install_requires" in found.arguments) != ("install_requires" in found.unread)
    return found.arguments.get("install_requires")


_BOTH = ["numpy>=1.20", "scipy"]


@pytest.mark.parametrize(
    ("source", "needs"),
    [
        ("from setuptools import setup\nsetup(install_requires=['a', 'b'])", ["a", "b"]),
        ("import setuptools\nsetuptools.setup(install_requires=('a',))", ["a"]),
        ("from distutils.core import setup as s\ns(install_requires='a\\nb')", ["a", "b"]),
        (
            "from skbuild import setup\nif __name__ == '__main__': setup(install_requires=['a'])",
            ["a"],
        ),
        (
            "d = ['a']\nd += ['b']\nd.append('c')\nd.extend(['e'])\nsetup(install_requires=d)",
            list("abce"),
        ),
        ("v = '1.2'\nsetup(install_requires=['a>=' + v, f'b=={v}'])", ["a>=1.2", "b==1.2"]),
        ("x, = [1]\nsetup(install_requires=['a', 'b'] + ['c'])", ["a", "b", "c"]),
        ("kw = dict(name='x')\nkw['install_requires'] = ['a']\nsetup(**kw)", ["a"]),
        ("kw = {'install_requires': ['a']}\nkw.update(name='x')\nsetup(**kw)", ["a"]),
        ("r = {'i': ['a'], 't': ['b']}\nsetup(install_requires=r['i'])", ["a"]),
        (
            "try:\n  from setuptools import setup\n"
            "except ImportError:\n  from distutils.core import setup\n"
            "setup(install_requires=['a'])",
            ["a"],
        ),
        (
            "def main():\n  metadata = dict(install_requires=['a'])\n  setup(**metadata)\nmain()",
            ["a"],
        ),
        ("n = ['a']\ndef f():\n  n = []\n  n.append('b')\nsetup(install_requires=n)", ["a"]),
        (
            "def needs(extra):\n  return ['a', extra]\nsetup(install_requires=needs('b'))",
            ["a", "b"],
        ),
        ("setup(install_requires=open('requirements.txt').read().splitlines())", _BOTH),
        ("setup(install_requires=open('requirements.txt').readlines())", _BOTH),
        (
            "with open('README') as f:\n  pass\nwith open('requirements.txt', 'r') as f:\n"
            "  needs = [l.strip() for l in f if l.strip() and not l.startswith('#')]\n"
            "setup(install_requires=needs)",
            _BOTH,
        ),
        (
            "from pathlib import Path\nhere = Path(__file__).resolve().parent\n"
            "text = (here / 'requirements.txt').read_text(encoding='utf-8')\n"
            "setup(install_requires=text.split('\\n'))",
            _BOTH,
        ),
        (
            "import os, io\nhere = os.path.abspath(os.path.dirname(__file__))\n"
            "def read(*names, **kw):\n"
            "  with io.open(os.path.join(here, *names), encoding=kw.get('e', 'utf8')) as f:\n"
            "    return f.read()\n"
            "setup(install_requires=read('requirements', 'base.txt').splitlines())",
            None,
        ),
        (
            "import os\nhere = os.path.dirname(__file__)\n"
            "def read(name):\n  with open(os.path.join(here, 'requirements', name)) as f:\n"
            "    return f.read()\n"
            "setup(install_requires=read('base.txt').splitlines())",
            ["six"],
        ),
    ],
)
def test_dependencies_that_need_no_decision_are_read(source: str, needs: list[str] | None) -> None:
    assert _needs(source) == needs


@pytest.mark.parametrize(
    "source",
    [
        "setup(install_requires=get())",
        "setup(install_requires=['a', get()])",
        "setup(**get())",
        "n = ['a']\nif sys.version_info < (3, 8):\n  n.append('b')\nsetup(install_requires=n)",
        "n = ['a']\nif x:\n  n = ['b']\nsetup(install_requires=n)",
        "n = ['a']\nfor x in y:\n  n += [x]\nsetup(install_requires=n)",
        "n = ['a']\nm = n\nif x:\n  m.append('b')\nsetup(install_requires=n)",
        "n = ['a']\nadd(n)\nsetup(install_requires=n)",
        "n = ['a']\nn[0] = 'b'\nsetup(install_requires=n)",
        "n = ['a']\n[n.append(x) for x in ['b']]\nsetup(install_requires=n)",
        "n = ['a']\ndef f():\n  global n\n  n = []\nf()\nsetup(install_requires=n)",
        "n = ['a']\ndef f():\n  n.append('b')\nf()\nsetup(install_requires=n)",
        "n = ['a']\n(n := ['b'])\nsetup(install_requires=n)",
        "n = ['a']\nx and n.append('b')\nsetup(install_requires=n)",
        "n = ['a']\nn.append('b') if x else 0\nsetup(install_requires=n)",
        "n = ['a']\n[n.append(y) for y in x]\nsetup(install_requires=n)",
        "n = ['a']\n[n.append(y) for z in x for y in z]\nsetup(install_requires=n)",
        "n = ['a']\n{y: n.append(y) for y in x}\nsetup(install_requires=n)",
        "n = ['a']\n(lambda: n.append('b'))()\nsetup(install_requires=n)",
        "n = ['a']\nm = n[:]\nsetup(install_requires=m)",
        "kw = {'install_requires': ['a']}\nif x:\n  kw['install_requires'] = []\nsetup(**kw)",
        "kw = {'install_requires': ['a']}\nif x:\n  kw['install_requires'].append(1)\nsetup(**kw)",
        "n = {'i': []}\nif x:\n  n.setdefault('i', []).append('b')\nsetup(install_requires=n['i'])",
        "n = ['a']\nif x:\n  m = n\n  m.append('b')\nsetup(install_requires=n)",
        "n = ['a']\nfor d in [n]:\n  d.append('b')\nsetup(install_requires=n)",
        "n = ['a']\nm = []\nfor d in x:\n  m.append('b')\n  m = n\nsetup(install_requires=n)",
        "n = ['a']\nf([n])\nsetup(install_requires=n)",
        "n = ['a']\nf(dict(n=n))\nsetup(install_requires=n)",
        "kw = {'install_requires': ['a']}\nkw[x] = []\nsetup(**kw)",
        "if x:\n  setup(install_requires=['a'])\nelse:\n  setup(install_requires=['b'])",
        "setup(install_requires=open('/etc/passwd').read().splitlines())",
        "setup(install_requires=open('../../etc/passwd').readlines())",
        "setup(install_requires=open('requirements.txt', 'w').readlines())",
        "setup(install_requires=['a'] if x else [])",
        "setup(install_requires={'a': 1})",
        "setup(install_requires=[1])",
        "setup(install_requires=['%s' % 'a'])",
    ],
)
def test_what_would_have_to_run_is_not_readable(source: str) -> None:
    assert _needs(source) is None


def test_a_change_under_a_condition_hides_that_key_alone() -> None:
    found = _read(
        """
        kw = dict(name="x", install_requires=["a"])
        if windows:
            kw["ext_modules"] = cythonize()
            kw["cmdclass"]["build_ext"] = BuildExt
        commands = kw.setdefault("cmdclass", {})
        if "build_ext" in kw["cmdclass"]:
            del kw["cmdclass"]["build_ext"]
        kw["cmdclass"] = versioneer.get_cmdclass()
        setup(**kw)
        """
    )
    assert (found.arguments, found.unread) == ({"name": "x", "install_requires": ["a"]}, {})


def test_all_keywords_are_read_and_the_unreadable_ones_given_as_written() -> None:
    found = _read(
        """
        setup(
            name="x",
            version=version(),
            python_requires=">=3.8",
            classifiers=["A", "B"],
            setup_requires=["pytest-runner"] if testing else [],
            extras_require={"bench": ["asv"], "odd": odd()},
        )
        """
    )
    assert found.arguments == {
        "name": "x",
        "python_requires": ">=3.8",
        "classifiers": ["A", "B"],
        "extras_require": {"bench": ["asv"]},
    }
    assert found.unread == {"setup_requires": '["pytest-runner"] if testing else []'}


def test_nothing_is_executed(tmp_path: Path) -> None:
    witness = tmp_path / "witness"
    witness.write_text("here")
    found = _read(
        f"""
        import os, shutil
        from setuptools import setup
        os.remove({str(witness)!r})
        open({str(witness)!r}, "w").close()
        shutil.rmtree({str(tmp_path)!r})
        __import__("os").system("rm -rf {tmp_path}")
        exec("raise SystemExit")
        setup(name="x", install_requires=["a"])
        """
    )
    assert found.arguments == {"name": "x", "install_requires": ["a"]}
    assert witness.read_text() == "here"


@pytest.mark.parametrize(
    ("source", "failure"),
    [
        ("print 'Python 2'", "not Python 3"),
        ("x = 'a\0b'", "not Python 3"),
        ("", "no call"),
        ("def setup(): pass\nsetup()", "no call"),
        ("#" * 300_000, "longer than"),
        ("x = " + "(" * 5_000, ""),
        ("x = " + "-" * 50_000 + "1", ""),
        ("x = a" + ".b" * 50_000, ""),
        ("x = " + "+".join("1" * 50_000), ""),
        ("x = " + "[" * 150 + "]" * 150, "no call"),
        ("x = ['a'] * 10\n" + "x = x + x\n" * 90 + "setup(install_requires=x)", None),
        ("x = ['a'] + ['b']\n" + "x = x + x\n" * 90 + "setup(install_requires=x)", None),
        ("x = 'aa'\n" + "x = x + x\n" * 90 + "setup(install_requires=x)", None),
        ("x = [0]\n" + "x.extend(x)\n" * 90 + "setup(install_requires=x)", "too long"),
        ("x = ['a']\nx.append(x)\nsetup(install_requires=x)", None),
        ("setup(install_requires=f())\n" * 5_000, "more than"),
        ("x = {}\nx['a'] = x\nif y:\n  pass\nsetup(**x)", "nested"),
        ("def f(x):\n  return f(x) + f(x)\nsetup(install_requires=f('a'))", None),
    ],
)
def test_odd_scripts_are_told_apart_in_bounded_time(source: str, failure: str | None) -> None:
    found = setup_py.parse(source, _FILES.get)
    if failure is None:
        assert found.failure is None
        assert "install_requires" not in found.arguments
    else:
        assert found.failure is not None
        assert failure in found.failure


_WORDS = st.sampled_from(
    [
        "setup",
        "(",
        ")",
        "[",
        "]",
        "install_requires",
        "=",
        "'a'",
        "\n",
        "\n  ",
        "if x:",
        "x",
        "+",
        ".",
        "append",
        "for x in x:",
        "def f(x):",
        "return x",
        "with open(x) as x:",
        "{",
        "}",
        "**",
        "*",
        ",",
        ":",
        "f'{x}'",
        "open",
        "0",
        "lambda:",
        "x = ",
        "['a', 'b']",
        "strip",
        "__file__",
        "/",
        "|",
    ]
)


@hypothesis.given(st.one_of(st.text(), st.lists(_WORDS, max_size=40).map(" ".join)))
@hypothesis.settings(max_examples=150, deadline=None)
def test_no_text_raises(source: str) -> None:
    setup_py.parse(source, {"a": "b\n"}.get)
