"""A string -> a data set; readers of standard formats; the sampler."""

from gantlet.data.cache import cache_folder
from gantlet.data.dataset import Dataset, to_uint, to_unit
from gantlet.data.order import permute
from gantlet.data.prefetch import Prefetch
from gantlet.data.report import SourceReport, describe
from gantlet.data.scatter import View
from gantlet.data.sheet import contact_sheet, save_picture, view_of
from gantlet.data.source import open_source
from gantlet.data.stream import Stream
from gantlet.data.toys import toy_modes

__all__ = [
    "Dataset",
    "Prefetch",
    "SourceReport",
    "Stream",
    "View",
    "cache_folder",
    "contact_sheet",
    "describe",
    "open_source",
    "permute",
    "save_picture",
    "to_uint",
    "to_unit",
    "toy_modes",
    "view_of",
]
