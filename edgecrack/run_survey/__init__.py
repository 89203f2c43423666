"""Surveys a recorded run: each crack once, on a map, with the coverage of the wall."""

from edgecrack.run_survey.surveying import SurveyConfig, Surveyed, survey_run

__all__ = ["SurveyConfig", "Surveyed", "survey_run"]
