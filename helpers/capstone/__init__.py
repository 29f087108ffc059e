"""The capstone: bring your own data, look at them, split them, choose, evaluate once with an interval, hand the model over."""
from helpers.capstone.archive import fetch_kaggle, unpack
from helpers.capstone.cases import CASES, another_device, stored_walks, write_case
from helpers.capstone.judge import Estimate, Sealed, estimate, gain
from helpers.capstone.looking import Findings, clean, copies, leaks, look, split
from helpers.capstone.models import Recipe, cross_validate, fit, load_model, recipes, save_model
from helpers.capstone.reading import Project, read, read_images, read_table

__all__ = [
    "CASES", "Estimate", "Findings", "Project", "Recipe", "Sealed", "another_device", "clean", "copies", "cross_validate",
    "estimate", "fetch_kaggle", "fit", "gain", "leaks", "load_model", "look", "read", "read_images", "read_table", "recipes",
    "save_model", "split", "stored_walks", "unpack", "write_case",
]
