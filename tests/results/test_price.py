"""What a study cost: hours times what an hour costs, from a table that the user may replace."""

import pytest

from tlx.errors import UserError
from tlx.results import collect
from tlx.results.price import price

TABLE = "currency: EUR\ncore: {hour: 0.1, watts: 10}\ngpu: {hour: 2, watts: 400}\n"


def test_cores_and_gpus_are_added_up(study, tmp_path) -> None:
    study.run("scratch", 0, seconds={"total": 3600.0}, machine={"threads": 2})
    study.run("full", 0, seconds={"total": 1800.0}, machine={"gpu": "one"}, config={"trainer.devices": 4})
    study.run("full", 1, status="missing")
    study.plan()
    table = tmp_path / "prices.yaml"
    table.write_text(TABLE)
    found = price(collect(study.folder), table)
    assert (found.core_hours, found.gpu_hours) == (2, 2)
    assert found.money == pytest.approx(4.2) and found.kwh == pytest.approx(0.82)
    assert found.sentence == (
        "All runs together took 2 core hours and 2 GPU hours: about 4.2 EUR and 0.82 kWh at the prices of prices.yaml."
    )
    assert "USD" in price(collect(study.folder)).sentence


@pytest.mark.parametrize("text", ["", "currency: EUR\ncore: {hour: x}\n", "- 1", ": :"])
def test_what_is_no_table_of_prices(study, tmp_path, text) -> None:
    study.run()
    (tmp_path / "prices.yaml").write_text(text)
    with pytest.raises(UserError, match=r"no table of prices .* configs/prices.yaml is one"):
        price(collect(study.folder), tmp_path / "prices.yaml")
