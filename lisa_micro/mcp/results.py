"""What the tools return, as the output schemas that clients see."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field


class SegmentSummary(BaseModel):
    """One thing that was segmented."""

    concept: str = Field(description="What it is, such as particle or neck.")
    phrase: str = Field(description="The words of the reply that refer to it.")
    condition: str = Field(description="The condition that selects instances; empty if there is none.")
    count: int = Field(description="Number of instances.")
    area_fraction: float = Field(description="Part of the image's pixels, 0 to 1.")
    quantity: str = Field(description="The size that is summarised: diameter, width, or empty for a region.")
    unit: str = Field(description="nm, or px where the pixel size is unknown.")
    mean: float | None = Field(description="Mean size.")
    median: float | None = Field(description="Median size.")
    D10: float | None = Field(description="Size below which a tenth of the instances lie.")
    D90: float | None = Field(description="Size below which nine tenths of the instances lie.")


class SegmentResult(BaseModel):
    """Answer to a request about one file."""

    reply: str = Field(description="The answer in a sentence; every number in it is measured.")
    found: bool = Field(description="Whether anything of the kind is in the image.")
    segments: list[SegmentSummary]
    values: list[dict[str, Any]] = Field(
        description="The measured numbers of the reply, with units and standard errors."
    )
    pixel_size_nm: float | None
    pixel_size_origin: str
    notes: list[str]
    files: list[str] = Field(description="Files that were written.")


class FolderResult(BaseModel):
    """Result of a request about a folder."""

    done: int = Field(description="Images that could be used.")
    failed: int = Field(description="Images that could not be used.")
    instances: int = Field(description="Instances in all images.")
    statistics: list[dict[str, Any]] = Field(description="D10, D50, D90 and mean of each group, with 95 % intervals.")
    comparisons: list[dict[str, Any]] = Field(description="Each pair of groups compared.")
    outliers: list[dict[str, Any]] = Field(description="Images that stand out from their group.")
    failures: list[dict[str, Any]] = Field(description="Images that failed, with a sentence each; the first 50.")
    notes: list[str]
    files: list[str] = Field(description="Tables and reports that were written.")
