"""What teams have opted in to, by the configuration and by documents."""

from spendstream.teams import Team, TeamDocument, Teams


def document(name: str, *features: str) -> TeamDocument:
    return TeamDocument(id=name, written={}, team=Team(features=features))  # type: ignore[arg-type]


def test_a_team_that_nobody_named_has_opted_in_to_nothing():
    assert not Teams().have("ads", "mask_pii")


def test_configuration_and_documents_both_count():
    teams = Teams({"mask_pii": ["law"]})
    teams.use([document("ads", "mask_pii", "optimise_prompts")])
    assert teams.have("law", "mask_pii")
    assert teams.have("ads", "mask_pii")
    assert not teams.have("law", "optimise_prompts")
    teams.use([])
    assert teams.have("law", "mask_pii")
    assert not teams.have("ads", "mask_pii")


def test_a_star_is_any_team():
    teams = Teams({"mask_pii": ["*"]})
    assert teams.have("whoever", "mask_pii")
    assert teams.have("", "mask_pii")
    assert not teams.have("whoever", "optimise_prompts")
