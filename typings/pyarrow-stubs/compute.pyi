# pyarrow makes these functions at run time from its C++ registry: there is nothing to read.
from typing import Any

def __getattr__(name: str) -> Any: ...
