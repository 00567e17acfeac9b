"""Write the numbers and tables into the pages.

python -m docs.numbers
"""

from docs.numbers import shown
from docs.numbers.pages import PAGES, filled


def main() -> None:
    found = shown()
    for path in PAGES:
        page = path.read_text(encoding="utf-8")
        if (new := filled(page, found)) != page:
            path.write_text(new, encoding="utf-8")
            print(path)


if __name__ == "__main__":
    main()
