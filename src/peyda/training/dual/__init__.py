"""The general trainer of dual encoders: any image tower with any text tower, by a recipe that has a `[towers]` table.

Importing this package loads no torch. `recipe` is what may be asked for, `towers` and its family modules are where
towers come from, `model` puts heads on them, `objectives` says what a step minimises, `loop` runs the steps, `export`
writes the model directory, and `run` is `peyda train clip` from end to end.
"""

from peyda.training.dual.recipe import DualRecipe, is_dual_recipe, read_dual_recipe

__all__ = ["DualRecipe", "is_dual_recipe", "read_dual_recipe"]
