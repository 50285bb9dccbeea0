"""Intake: a data set becomes a catalogue of utterances, and findings about everything amiss."""

from tasks.intake.catalogue import check_folder, check_source, take_in, take_in_folder
from tasks.intake.records import Intake

__all__ = ["Intake", "check_folder", "check_source", "take_in", "take_in_folder"]
