"""Label images of a video as a TIFF stack, written and read one frame at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import numpy as np

from lisa_micro.types import InputError

_UINT16 = int(np.iinfo(np.uint16).max)


class LabelStackWriter:
    """Append label images to a TIFF stack that ImageJ opens calibrated in nm and s. Use it in a ``with`` statement.

    Labels are stored as uint16, compressed. From the first label above 65535, the whole stack is uint32.

    Args:
        path: the file; an existing one is replaced.
        pixel_size_nm, frame_time_s: ``None`` leaves the stack uncalibrated in space or time.
        slices: whether the images are slices along z instead of frames.
        step_nm: distance of the slices; it is written if the pixel size is known as well.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        pixel_size_nm: float | None = None,
        frame_time_s: float | None = None,
        slices: bool = False,
        step_nm: float | None = None,
    ) -> None:
        self.path, self.count = Path(path), 0
        self._pixel_size, self._interval = pixel_size_nm, frame_time_s
        self._along, self._step = "slices" if slices else "frames", step_nm
        self._dtype: type = np.uint16
        self._shape: tuple[int, ...] | None = None
        self._open()

    def _open(self) -> None:
        import tifffile

        self._writer = tifffile.TiffWriter(self.path)

    def append(self, labels: np.ndarray) -> None:
        """Write the next frame.

        Args:
            labels: ``(H, W)`` integers of at least 0, the same size in all frames.

        Raises:
            InputError: another size, or a negative label.
        """
        labels = np.asarray(labels)
        if self._shape is not None and labels.shape != self._shape or labels.ndim != 2:
            raise InputError(f"All label images of a stack must be (H, W) of one size, not {labels.shape}.")
        if labels.min(initial=0) < 0:
            raise InputError("Labels must not be negative.")
        self._shape = labels.shape
        if self._dtype is np.uint16 and labels.max(initial=0) > _UINT16:
            self._widen()
        self._write(labels)

    def _write(self, labels: np.ndarray) -> None:
        scale = None if self._pixel_size is None else (1 / self._pixel_size, 1 / self._pixel_size)
        self._writer.write(
            labels.astype(self._dtype),
            photometric="minisblack",
            compression="zlib",
            # the number of frames is not known yet; space is reserved for it
            description=self._description(10**9) if self.count == 0 else None,
            metadata=None,
            resolution=scale,
            resolutionunit=1,
            software="lisa-micro",
            contiguous=False,
        )
        self.count += 1

    def _description(self, frames: int) -> str:
        lines = ["ImageJ=1.54f", f"images={frames}", f"{self._along}={frames}"]
        lines += ["unit=nm"] if self._pixel_size is not None else []
        lines += [f"spacing={self._step!r}"] if self._pixel_size is not None and self._step is not None else []
        lines += [f"finterval={self._interval!r}", "tunit=sec"] if self._interval is not None else []
        return "\n".join([*lines, "loop=false", ""])

    def _widen(self) -> None:
        """Rewrite the stack with 32 bits, since a label exceeds 16 bits."""
        self.close()
        narrow = self.path.with_name(self.path.name + ".16")
        self.path.replace(narrow)
        self._dtype, self.count = np.uint32, 0
        self._open()
        for labels in LabelStack(narrow):
            self._write(labels)
        narrow.unlink()

    def close(self) -> None:
        """Complete the file; it can be read afterwards."""
        import tifffile

        self._writer.close()
        if self.count:
            with tifffile.TiffFile(self.path, mode="r+") as file:
                file.pages.first.tags["ImageDescription"].overwrite(self._description(self.count))

    def __enter__(self) -> LabelStackWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class LabelStack:
    """A label stack in a file, read one frame at a time: ``stack[t]`` and iteration give ``(H, W)`` int32.

    Raises:
        InputError: not a readable TIFF file.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        import tifffile

        self.path = Path(path)
        try:
            with tifffile.TiffFile(self.path) as file:
                self._count = len(file.pages)
        except Exception as error:
            raise InputError(f"{self.path} is not a readable stack of labels.") from error

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, t: int) -> np.ndarray:
        import tifffile

        if not -self._count <= t < self._count:
            raise IndexError(f"there is no frame {t} in a stack of {self._count}")
        with tifffile.TiffFile(self.path) as file:
            return file.pages[t % self._count].asarray().astype(np.int32)

    def __iter__(self) -> Iterator[np.ndarray]:
        import tifffile

        with tifffile.TiffFile(self.path) as file:
            for page in file.pages:
                yield page.asarray().astype(np.int32)
