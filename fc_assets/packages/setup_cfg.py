"""`setup.cfg` as setuptools reads it: lists by line, `file:` for files of the repository."""

import configparser

from fc_assets.packages.declarations import Files, Project, requirement_lines


def parse(text: str) -> configparser.ConfigParser | str:
    """The sections, or one sentence on what is wrong with them."""
    # A colon is a delimiter, and no inline comments: as setuptools has it.
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        parser.read_string(text.removeprefix("\ufeff"))
    except (configparser.Error, AttributeError, ValueError) as error:
        # The second is Python's own on continuation lines that continue nothing.
        return " ".join(str(error).split())
    return parser


class SetupCfg:
    """The declarations of a project's `setup.cfg`; without one, or with a broken one, none."""

    def __init__(self, project: Project, files: Files) -> None:
        self._project = project
        self._files = files
        self._parser = configparser.ConfigParser(interpolation=None)
        parsed = parse(files.text(project.root, "setup.cfg") or "")
        if isinstance(parsed, str):
            project.drop_file("setup.cfg", parsed)
        else:
            self._parser = parsed

    def value(self, section: str, *options: str) -> str | None:
        """The first of several spellings of an option that is there and not empty."""
        found = (self._parser.get(section, o, fallback=None) for o in options)
        return next((text for text in found if text and text.strip()), None)

    def lines(self, section: str, *options: str) -> list[str] | None:
        """The lines of an option, of the files it names, or None when it is not there."""
        text = self.value(section, *options)
        if text is None:
            return None
        if not text.strip().startswith("file:"):
            # As setuptools reads them, a value on one line is separated by semicolons, so that a
            # marker needs a line of its own.
            lines = text if "\n" in text or section == "metadata" else text.replace(";", "\n")
            return requirement_lines(lines)
        where = f"setup.cfg {options[0]}"
        return read_files(self._project, self._files, text.strip()[5:].split(","), where)

    def extras(self) -> dict[str, list[str]]:
        """Lines of the extras by name."""
        section = "options.extras_require"
        if not self._parser.has_section(section):
            return {}
        defaults = self._parser.defaults()
        names = [o for o in self._parser.options(section) if o not in defaults]
        return {name: self.lines(section, name) or [] for name in names}


def read_files(project: Project, files: Files, names: list[str], where: str) -> list[str] | None:
    """Requirement lines of files of the repository; None if one of them is not there."""
    lines: list[str] = []
    for name in (n.strip() for n in names):
        text = files.text(project.root, name) if name else ""
        if text is None:
            project.drop(name, where, "no such file")
            return None
        lines += requirement_lines(text)
    return lines
