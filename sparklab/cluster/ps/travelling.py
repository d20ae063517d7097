"""How a user's functions and filters reach a server: as bytes, which are opened apart from the frame that they come in.

Making them and opening them can fail, and neither may cost a server.
"""

from __future__ import annotations

import pickle
from typing import Any

import cloudpickle

from sparklab.errors import ParameterServerError

LOAD_ONLY = "only to be loaded"


def packed(attempted: str, *things: Any) -> bytes:
    """`things` as bytes.

    Raises
    ------
    ParameterServerError
        One of them cannot be sent.
    """
    try:
        data: bytes = cloudpickle.dumps(things, protocol=5)
    except Exception as error:  # whatever the pickling of somebody's object raises
        raise ParameterServerError(
            attempted,
            f"what cannot be sent to a server ({type(error).__name__}: {error})",
            "leave locks, files, contexts and connections out of the function: make them inside it",
        ) from error
    return data


def unpacked(data: bytes) -> tuple[Any, ...]:
    """What was :func:`packed`. Raises whatever the loading of somebody's object raises."""
    things: tuple[Any, ...] = pickle.loads(data)
    return things


def unloadable(error: BaseException) -> dict[str, str]:
    """What is said where :func:`unpacked` failed."""
    return {
        "found": f"a function that a server cannot load ({type(error).__name__}: {error})",
        "do": "define it in the notebook or the script, or install its module where the servers can import it",
    }


def unsendable(error: BaseException) -> dict[str, str]:
    """What is said where the answer of a function cannot be sent."""
    return {
        "found": f"an answer that cannot be sent ({type(error).__name__}: {error})",
        "do": "have the function give plain data or arrays, not large",
    }
