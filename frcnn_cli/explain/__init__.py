"""`frcnn explain`: one page that takes a photograph through Fast R-CNN, formula by formula.

`subject` looks at the photograph once; `sections` has a file for each section, which computes with the functions of the
package and says what it found by a `section.Section`; `page` puts them together with the words of a language. What a
reader can choose on the page was all computed here: its script only shows one of what is there.
"""

from __future__ import annotations
