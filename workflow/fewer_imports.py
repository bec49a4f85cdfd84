"""What others would import and nobody here needs: to be imported before them, and so named that it sorts first."""

from __future__ import annotations

import sys

# jsonschema asks it whether addresses in other alphabets are well formed, of which there are none here. As it is
# imported it makes 38 grammars, which takes a second; jsonschema does without what is not there.
sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]
