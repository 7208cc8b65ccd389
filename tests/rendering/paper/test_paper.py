from __future__ import annotations

import csv
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from vssbench.analysis.run import Run
from vssbench.errors import InputError, VssbenchError
from vssbench.rendering.paper.figures import write_paper
from vssbench.rendering.paper.tables import PaperTable, paper_tables
from vssbench.rendering.tables.summary import summary_of
from vssbench.results.store import slug


@pytest.fixture(scope="module")
def layout(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The paper's layout of a run that knows no row of the paper: empty cells, but all tables and figures."""
    folder = tmp_path_factory.mktemp("paper")
    write_paper([run], folder)
    return folder


def test_all_tables_and_figures_of_the_paper_are_written(layout: Path) -> None:
    tables = {f"table{n}.{kind}" for n in range(1, 6) for kind in ("tex", "csv")}
    figures = {f"figure{n}.{kind}" for n in ("3", "4a", "4b") for kind in ("svg", "pdf")}
    assert {path.name for path in layout.iterdir()} == tables | figures | {"paper.tex", "paper.md"}


def test_published_values_stand_in_their_own_column_and_ours_are_empty_where_nothing_was_measured(
    layout: Path,
) -> None:
    with (layout / "table1.csv").open(newline="") as stream:
        rows = list(csv.reader(stream))
    assert rows[0][3:8] == ["mIoU (%) paper", "mIoU (%) ours", "interval", "ours - paper", "paper inside"]
    assert rows[1] == ["CamVid", "PSPNet18", "1.0x", "69.43", "–", "–", "–", "–", "309.02", "–", "–"]
    assert len(rows) == 1 + 16
    with (layout / "table5.csv").open(newline="") as stream:
        rows = list(csv.reader(stream))
    assert rows[1] == [
        "CamVid",
        "paper, GeForce RTX 3090",
        "31.2 ms (32 fps)",
        "14.7 ms (68 fps)",
        "9.0 ms (111 fps)",
    ]


def rows_of(paper: PaperTable) -> list[list[str]]:
    return [[cell.text for cell in row.cells] for row in paper.table.rows]


def test_a_measured_row_stands_beside_the_published_one(fabricate, as_in_the_paper, tmp_path: Path) -> None:
    made = as_in_the_paper(fabricate(tmp_path / "run", sequences=4, units=3, distances=3, pictures=False))
    table1, table2, table3, table4, _ = map(rows_of, paper_tables([made]))
    (row,) = [r for r in table1 if r[2] == "AR 0.5" and r[3] == "70.48"]
    ours = float(row[4])
    assert row[6] == f"{ours - 70.48:+.2f}"
    assert row[7] in ("yes", "no")
    assert all(r[3] == "–" for r in table2)  # AR 0.6 was not measured
    assert [r[3] for r in table3].count(row[4]) == 4  # the final model heads four ablations
    assert [r[2:4] for r in table4 if r[3] != "–"][1] == ["70.48", row[4]]
    assert any(
        "9 labelled frames" in note or "labelled frames" in note
        for note in paper_tables([made])[0].table.notes
    )


def test_table_5_takes_its_times_from_the_stopwatch_where_there_is_one(
    fabricate, as_in_the_paper, write_latency, tmp_path: Path
) -> None:
    made = as_in_the_paper(fabricate(tmp_path / "run", sequences=1, units=2, distances=2, pictures=False))
    table5 = paper_tables([made])[4]
    assert rows_of(table5)[1][1] == "ours, cpu"
    assert "while the run was made" in table5.table.notes[-1]
    write_latency(made, "constant 1.0", ms=12.5)
    write_latency(made, "AR-Seg 0.5", ms=4.0, stable=False)
    table5 = paper_tables([made])[4]
    assert rows_of(table5)[1] == ["", "ours, a GPU", "12.5 ms (80 fps)", "4.0 ms (250 fps) ~", "–"]
    assert rows_of(table5)[3][1:] == ["ours, not measured", "–", "–", "–"]
    assert "stopwatch's median" in table5.table.notes[-1]
    assert "unstable" in table5.table.notes[-1]
    row = next(row for row in summary_of(made).rows if row.method == "AR-Seg 0.5")
    assert (row.values["watch_ms"], row.values["fps"]) == (4.0, 250.0)
    path = made.path / "latency" / "streets" / f"{slug('AR-Seg 0.5')}.json"
    path.write_text(path.read_text().replace('"median_ms": 4.0', '"median_ms": 0.0'))
    with pytest.raises(InputError, match=r"AR-Seg_0\.5.*median_ms.*greater than 0"):
        paper_tables([made])


def test_the_same_run_gives_the_same_bytes(run: Run, layout: Path, tmp_path: Path) -> None:
    for path in write_paper([run], tmp_path):
        assert path.read_bytes() == (layout / path.name).read_bytes(), path.name


def test_fonts_are_embedded(layout: Path) -> None:
    for path in layout.glob("*.pdf"):
        data = path.read_bytes()
        assert b"/FontFile2" in data
        assert b"/Type3" not in data


def test_all_tables_compile_with_plain_pdflatex(layout: Path, tmp_path: Path) -> None:
    compiler = shutil.which("pdflatex")
    if compiler is None:
        if "pdflatex" in os.environ.get("VSSBENCH_REQUIRE", ""):
            pytest.fail("VSSBENCH_REQUIRE names pdflatex, but there is none")
        pytest.skip("needs pdflatex")
    for path in layout.glob("*.tex"):
        shutil.copy(path, tmp_path)
    command = [compiler, "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    made = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, errors="replace", check=False
    )
    assert made.returncode == 0, made.stdout[-2000:]
    assert "Overfull" not in made.stdout
    assert (tmp_path / "paper.pdf").exists()


def test_an_unknown_paper_is_refused(run: Run, tmp_path: Path) -> None:
    with pytest.raises(VssbenchError, match="ar-seg"):
        write_paper([run], tmp_path, name="other")
