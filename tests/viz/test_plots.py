"""Plots of a followed video and its overlay movie."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from lisa_micro.measure import measure_necks, measure_particles, pair_growth
from lisa_micro.sim import simulate_sintering
from lisa_micro.types import InputError, Micrograph
from lisa_micro.viz.movie import MovieStyle, StableColours, write_overlay_video
from lisa_micro.viz.plot_files import PLOT_FILES, save_plots
from lisa_micro.viz.plots import family_order, growth_figure, lives, timeline_figure


@pytest.fixture(scope="module")
def followed():
    """Tables of a simulated video, as a pipeline writes them."""
    video = simulate_sintering(5, frames=30, shape=(192, 192), n_particles=8, mechanism="lattice diffusion")
    tracks, necks = [], []
    for t in range(len(video)):
        at = {"frame": t, "time_s": t * video.frame_time_s}
        labels = video.labels(t)
        tracks.append(measure_particles(labels, video.pixel_size_nm).assign(**at))
        necks.append(measure_necks(labels, video.pixel_size_nm).assign(**at))
    events = [
        {
            "kind": event["kind"],
            "frame": event["frame"],
            "time_s": event["time_s"],
            "before": tuple(event["particles"]),
            "after": (event["identity"],) if "identity" in event else tuple(event["particles"]),
            "x_px": event["x"],
            "y_px": event["y"],
        }
        for event in video.events
    ]
    tracks, necks = pd.concat(tracks).rename(columns={"label": "identity"}), pd.concat(necks)
    return video, tracks, pd.DataFrame(events), necks, pair_growth(necks)


def test_all_plots_are_written(followed, tmp_path):
    _, *tables = followed
    paths = save_plots(tmp_path / "plots", *tables)
    assert [path.name for path in paths] == list(PLOT_FILES)
    for path in paths[:3]:
        picture = np.asarray(Image.open(path).convert("L"))
        assert picture.shape[1] == 960
        assert (picture < 128).sum() > 2000  # something is drawn
    page = paths[3].read_text(encoding="utf-8")
    assert page.count("Plotly.newPlot(") >= 3
    assert "<script src=" not in page  # opens without a network


def test_tables_without_anything(followed, tmp_path):
    _, tracks, events, necks, pairs = followed
    nothing = (tracks.iloc[:0], events.iloc[:0], necks.iloc[:0], pairs.iloc[:0])
    assert len(save_plots(tmp_path / "none", *nothing)) == 4
    # no pair is fitted, and no time is known
    untimed = [table.assign(time_s=np.nan) for table in (tracks, events, necks)]
    assert len(save_plots(tmp_path / "untimed", *untimed, pair_growth(untimed[2]))) == 4
    assert timeline_figure(untimed[0], untimed[1]).axes[0].get_xlabel() == "frame"
    with pytest.raises(InputError, match="time_s"):
        save_plots(tmp_path / "bad", tracks.drop(columns="time_s"), events, necks, pairs)


def test_growth_of_chosen_pairs(followed):
    _, _, _, necks, pairs = followed
    fitted = pairs[pairs["why"] == ""]
    a, b = int(fitted["a"].iloc[0]), int(fitted["b"].iloc[0])
    axes = growth_figure(necks, pairs, [(b, a)]).axes
    assert len(axes) == 1
    assert axes[0].get_title().startswith(f"{a} and {b}\nn = ")


def test_rows_of_the_timeline():
    events = pd.DataFrame(
        {
            "kind": ["coalesce", "coalesce"],
            "frame": [3, 6],
            "time_s": [3.0, 6.0],
            "before": [(1, 2), (5, 4)],
            "after": [(5,), (6,)],
        }
    )
    assert list(family_order([1, 2, 3, 4, 5, 6], events)) == [3, 1, 5, 2, 6, 4]
    seen = [(1, 0), (1, 2), (2, 0), (2, 2), (5, 3), (5, 5), (4, 0), (4, 5), (6, 6), (3, 0)]
    tracks = pd.DataFrame(seen, columns=["identity", "frame"]).assign(time_s=lambda t: t["frame"] * 1.0)
    spans = lives(tracks, events)
    assert spans.loc[1].tolist() == [0, 3]
    assert spans.loc[5].tolist() == [3, 6]
    assert spans.loc[6].tolist() == [6, 6]


def test_overlay_video(followed, tmp_path):
    av = pytest.importorskip("av")
    video, _, events, _, _ = followed
    path = tmp_path / "overlay.mp4"
    labels = [video.labels(t) for t in range(8)]
    style = MovieStyle(rate=12.5, enlarge=False)
    write_overlay_video(path, video, labels, events, video.pixel_size_nm, video.frame_time_s, style)
    with av.open(str(path)) as movie:
        stream = movie.streams.video[0]
        pictures = [picture.to_ndarray(format="rgb24") for picture in movie.decode(stream)]
        assert float(stream.average_rate) == 12.5
    assert len(pictures) == 8  # the movie ends with the labels
    assert pictures[0].shape == (192, 192, 3)
    assert (np.ptp(pictures[0].astype(int), axis=2) > 60).sum() > 500  # colours
    assert [entry.name for entry in tmp_path.iterdir()] == ["overlay.mp4"]


def test_overlay_video_of_odd_size_and_bad_input(tmp_path):
    av = pytest.importorskip("av")
    pixels, labels = np.random.default_rng(0).random((61, 83), np.float32), np.zeros((61, 83), np.int32)
    labels[10:20, 10:30] = 70000
    path = write_overlay_video(tmp_path / "odd.mp4", [Micrograph(pixels)], [labels], style=MovieStyle(enlarge=False))
    with av.open(str(path)) as movie:
        assert next(movie.decode(video=0)).to_ndarray(format="rgb24").shape == (62, 84, 3)
    with pytest.raises(InputError, match="mp4"):
        write_overlay_video(tmp_path / "a.gif", [pixels], [labels])
    with pytest.raises(InputError, match="no frame"):
        write_overlay_video(tmp_path / "a.mp4", [], [])
    with pytest.raises(InputError, match="Frame 1"):
        write_overlay_video(tmp_path / "a.mp4", [pixels, pixels[:50]], [labels, labels[:50]])
    with pytest.raises(InputError, match="labels"):
        write_overlay_video(tmp_path / "a.mp4", [pixels], [labels[:50]])
    with pytest.raises(InputError, match="rate"):
        write_overlay_video(tmp_path / "a.mp4", [pixels], [labels], style=MovieStyle(rate=0))
    with pytest.raises(InputError, match="x_px"):
        events = pd.DataFrame({"kind": ["contact"], "frame": [0], "y_px": [1.0]})
        write_overlay_video(tmp_path / "a.mp4", [pixels], [labels], events)
    assert not (tmp_path / "a.mp4").exists()


def test_colours_stay():
    labels = np.zeros((20, 60), np.int32)
    labels[:, :10], labels[:, 10:20], labels[:, 40:50] = 3, 8, 12
    colours = StableColours()
    first = colours.table(labels)
    assert (first[3] != first[8]).any()
    labels[labels == 3] = 0
    labels[:, 20:30] = 4
    second = colours.table(labels)
    assert (second[[8, 12]] == first[[8, 12]]).all()
    assert (second[4] != second[8]).any()
