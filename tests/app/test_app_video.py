"""Opening videos on the page Video, without a browser: formats, metadata, and bad files."""

from __future__ import annotations

import io
import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from stand_in_video import FRAMES, LIMITS, Watching, follow, movie, opened, picture, pixels, stack, zipped

from lisa_micro.types import InputError
from lisa_micro_app import handlers
from lisa_micro_app.limits import Limits
from lisa_micro_app.state import current_video
from lisa_micro_app.state import video_files as video_open
from lisa_micro_app.views import video_views
from lisa_micro_app.views.video_frames import served

STAND_IN = Watching

# -------------------------------------------------------------------------------------------------------- videos


def test_a_stack_is_opened_with_its_pixel_size_and_frame_time_and_where_they_come_from(user):
    clip = opened(user)
    assert (len(clip), clip.pixel_size_nm, clip.frame_time_s) == (FRAMES, pytest.approx(0.5), 0.5)
    assert video_views.pixel_size_words(clip).startswith("From the file (ImageJ)")
    assert video_views.frame_time_words(clip).startswith("From the file (ImageJ)")
    view = video_views.video_view(user, LIMITS)
    assert view["clip"]["facts"] == "6 frames · 64 × 48 px · 32 nm × 24 nm" and view["run"] is None
    content, kind = served(user, clip.key, "5.jpg")
    assert kind == "image/jpeg" and Image.open(io.BytesIO(content)).size == (64, 48)
    assert all(served(user, clip.key, name) is None for name in ("6.jpg", "-1.jpg", "../0.jpg", "0.png", "x.jpg", "²."))
    assert str(user.folder) not in json.dumps(view)


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".avi"])
def test_movies_are_opened_and_say_that_their_frame_time_is_that_of_playback(user, suffix):
    clip = opened(user, movie(suffix), f"film{suffix}")
    assert len(clip) == FRAMES and clip.frame_time_s == pytest.approx(0.1)
    assert "playback rate" in video_views.frame_time_words(clip) and clip.pixel_size_nm is None
    assert "Type it to get nm" in video_views.pixel_size_words(clip)


def test_an_mrc_stack_is_opened(user, tmp_path):
    import mrcfile

    with mrcfile.new(tmp_path / "a.mrc") as file:
        file.set_data(pixels().astype(np.int16))
        file.set_image_stack()
        file.voxel_size = 5.0
    clip = opened(user, (tmp_path / "a.mrc").read_bytes(), "a.mrc")
    assert len(clip) == FRAMES and clip.pixel_size_nm == pytest.approx(0.5) and clip.frame_time_s is None
    assert "in frames" in video_views.frame_time_words(clip)


def test_a_zip_of_frames_is_a_video_in_natural_order(user):
    frames = {f"run/f{t}.png": picture(t) for t in (10, 9, 2, 1)}
    clip = opened(user, zipped({**frames, "run/notes.txt": b"x", "__MACOSX/run/._f1.png": b"x"}), "frames.zip")
    means = [float(image.mean()) for image in clip.stream()]
    assert means == [10, 20, 90, 100]


@pytest.mark.parametrize(
    ("content", "name", "says"),
    [
        (b"", "a.mp4", "empty|not a readable"),
        (b"\x00" * 4000, "a.mp4", "not a readable video"),
        (b"some text", "a.avi", "not a readable video"),
        (b"II*\x00 broken", "../<b>a.tif", "<b>a.tif"),
        (b"PK\x03\x04 broken", "a.zip", "cannot be unpacked"),
        (zipped({"notes.txt": b"x"}), "a.zip", "contains no images"),
        (zipped({f"{t}.png": b"x" for t in range(13)}), "a.zip", "too long"),
        (zipped({"../../evil.png": b"no picture"}), "a.zip", "contains no images"),
        (zipped({"/evil.png": b"no picture"}), "a.zip", "evil.png"),
        (zipped({"bomb.tif": bytes(5 * 1024 * 1024)}), "a.zip", "too large"),
        (stack(13), "a.tif", "up to 12 frames"),
        (movie(".mp4", 14), "a.mp4", "up to 12 frames"),
    ],
)
def test_what_is_no_video_or_too_long_is_refused_by_name_and_leaves_nothing(user, content, name, says):
    before = opened(user)
    files = sorted(user.folder.iterdir())
    with pytest.raises(InputError, match=says) as error:
        opened(user, content, name)
    assert str(user.folder) not in str(error.value) and user.folder.name not in str(error.value)
    assert user.video.clip is before and sorted(user.folder.iterdir()) == files
    assert not list(user.folder.parent.parent.glob("evil*"))


def test_a_video_whose_frames_are_too_large_together_is_refused(user):
    with pytest.raises(InputError, match="million px together"):
        opened(user, limits=Limits(video_megapixels=0))


@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".tif"])
def test_a_truncated_video_is_opened_as_far_as_it_goes_or_refused(tmp_path, suffix):
    """In its own process, because a decoder may crash."""
    content = stack() if suffix == ".tif" else movie(suffix)
    for k in range(1, 8):
        (tmp_path / f"{k}{suffix}").write_bytes(content[: len(content) * k // 8])
    code = """if True:
        import sys
        from lisa_micro_app.state import video_files as video_open
        from lisa_micro_app.limits import Limits
        from lisa_micro_app.state.session import Sessions, Upload
        from lisa_micro.types import InputError
        from pathlib import Path
        sessions, outcomes = Sessions(), []
        user = sessions.get("one")
        for path in sorted(Path(sys.argv[1]).iterdir()):
            file = user.new_file(path.suffix)
            file.write_bytes(path.read_bytes())
            user.uploads["key"] = Upload(file, "mine" + path.suffix, "video")
            try:
                list(video_open.open_upload(user, "key", Limits(video_px=64)))
                clip = user.video.clip
                assert 1 <= len(clip) <= 6
                outcomes += [f"{len(clip)} " + " ".join(clip.stream().notes)]
            except InputError as error:
                outcomes += [str(error)]
            assert file.stem not in outcomes[-1]
        sessions.close()
        print(len(outcomes))
    """
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and done.stdout.strip() == "7", done.stderr[-800:]


def test_a_sample_is_simulated_once_and_is_the_same_each_time(user, sessions):
    small = {**video_open.SAMPLES["sintering"], "frames": 3}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(video_open.SAMPLES, "sintering", small)
        list(video_open.open_sample(user, "sintering", LIMITS))
        clip = user.video.clip
        assert clip.pixel_size_nm == 0.25 and clip.frame_time_s == 2.0 and len(clip) == 3
        content, made = clip.path.read_bytes(), clip.path.stat().st_mtime_ns
        opened(user)
        list(video_open.open_sample(user, "sintering", LIMITS))
        assert user.video.clip.path.stat().st_mtime_ns == made
        other = sessions.get("two")
        list(video_open.open_sample(other, "sintering", LIMITS))
        assert other.video.clip.path.read_bytes() == content
    with pytest.raises(InputError, match="no sample"):
        list(video_open.open_sample(user, ["../x"], LIMITS))


def test_pixel_size_and_frame_time_can_be_typed_and_taken_back(user):
    opened(user)
    assert current_video.set_pixel_size(user, "0,25 nm") and current_video.set_frame_time(user, " 2 s ")
    clip = user.video.clip
    assert (clip.pixel_size_nm, clip.frame_time_s) == (0.25, 2.0)
    assert "Typed by you" in video_views.pixel_size_words(clip) and "Typed by you" in video_views.frame_time_words(clip)
    assert clip.stream().pixel_size_nm == 0.25 and clip.stream().facts.frame_time_origin == "user"
    assert not current_video.set_frame_time(user, "2")  # what the field shows is no change
    for change in (current_video.set_pixel_size, current_video.set_frame_time):
        for wrong in ("0", "-1", "x", "nan", "inf"):
            with pytest.raises(InputError):
                change(user, wrong)
        assert change(user, "")
    assert user.video.clip.pixel_size_nm == pytest.approx(0.5)


def test_removing_a_video_leaves_no_file(user, queue):
    opened(user, zipped({f"{t}.png": picture(t) for t in range(3)}), "frames.zip")
    follow(user, queue)
    current_video.close_video(user)
    assert list(user.folder.iterdir()) == [] and video_views.video_view(user, LIMITS)["clip"] is None
    with pytest.raises(InputError, match="Open a video"):
        follow(user, queue)


def test_clearing_the_chat_leaves_the_video(user, queue):
    clip = opened(user)
    handlers.clear(user)
    assert user.video.clip is clip and served(user, clip.key, "0.jpg")
