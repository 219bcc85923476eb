# SPDX-License-Identifier: BSD-3-Clause
"""Functions that exist only to be linked into others: typed and lowered, never made machine code of their own.

numba makes each compiled function a whole: optimised, assembled, with wrappers for the interpreter and for C. A helper
of a hot path needs none of it, since its caller links its intermediate code and optimises the result. Leaving it out
takes a cold start to a quarter (36 s of processor time to 9 s for both ends of a vhost-user socket). What is left out
is made when such a function is called from the interpreter after all.
"""

# mypy: disable-error-code="no-untyped-call, misc, attr-defined"
from __future__ import annotations

import functools
from typing import Any

from numba import njit
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import register_pass
from numba.core.registry import CPUDispatcher
from numba.core.typed_passes import NativeLowering

# numpy's error model: a division by zero is not worth a branch and an exception in a hot path.
OPTIONS = {"nogil": True, "error_model": "numpy"}


@register_pass(mutates_CFG=True, analysis_only=False)
class LowerForLinking(NativeLowering):  # type: ignore[misc, unused-ignore]  # numba is not typed
    """Lower a function and register its intermediate code with its callers."""

    _name = "lower_for_linking"

    def run_pass(self, state: Any) -> bool:
        state.flags.no_compile = True
        state.flags.no_cpython_wrapper = True
        state.flags.no_cfunc_wrapper = True
        super().run_pass(state)
        # numba finds a compiled function again by its entry point, which must be a built-in function: one for each.
        entry_point = (state.library,).index
        state.targetctx.insert_user_function(entry_point, state["cr"].fndesc, [state.library])
        state["cr"] = state["cr"]._replace(cfunc=entry_point)
        state.library.finalize = functools.partial(_link_only, state.library)
        return True


def _link_only(library: Any) -> None:
    """Link a library with those it calls, and leave it at that."""
    for linked in dict.fromkeys(library._linking_libraries):
        library._reload_init.update(linked._reload_init)
        library._final_module.link_in(linked._get_module_for_linking(), preserve=True)
    library._finalize_dynamic_globals()
    library._finalized = True


class LinkedCompiler(CompilerBase):  # type: ignore[misc, unused-ignore]  # numba is not typed
    """numba's pipeline with `LowerForLinking` in the place of its lowering."""

    def define_pipelines(self) -> list[Any]:
        pipeline = DefaultPassBuilder.define_nopython_pipeline(self.state)
        pipeline.passes = [(LowerForLinking if step is NativeLowering else step, why) for step, why in pipeline.passes]
        pipeline._finalized = False
        pipeline.finalize()
        return [pipeline]


class Linked(CPUDispatcher):  # type: ignore[misc, unused-ignore]  # numba is not typed
    """A function that its callers link; called from the interpreter, it is compiled whole."""

    @functools.cached_property
    def whole(self) -> Any:
        return njit(**OPTIONS)(self.py_func)

    def __call__(self, *arguments: Any) -> Any:
        return self.whole(*arguments)


def linked(function: Any, **options: Any) -> Any:
    """Return `function` as one that its callers link."""
    return Linked(
        function,
        targetoptions={**OPTIONS, "nopython": True, "boundscheck": None, **options},
        pipeline_class=LinkedCompiler,
    )
