"""The MCP server on the standard streams, by the package ``mcp``."""

# no postponed annotations: FastMCP reads the types of the tools from their signatures

import base64
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, Field

from lisa_micro.batch.progress import Progress
from lisa_micro.mcp.results import FolderResult, SegmentResult
from lisa_micro.mcp.tools import Tools

if TYPE_CHECKING:
    from mcp.server.fastmcp import FastMCP
    from mcp.types import CallToolResult

INSTRUCTIONS = (
    "Segments and measures electron micrographs that lie in the allowed folders: particles (grains, crystallites), "
    "necks between sintered particles, pores, agglomerates and the substrate, with conditions such as 'the three "
    "largest' or 'diameter above 20 nm'. Every number is measured. Use segment_file for one image and run_folder for "
    "many."
)


def make_server(tools: Tools) -> "FastMCP":
    """The server with its two tools; what cannot be used is told the client as an error in one sentence."""
    import anyio
    from mcp.server.fastmcp import Context, FastMCP
    from mcp.types import CallToolResult

    server = FastMCP("lisa-micro", instructions=INSTRUCTIONS)

    @server.tool()
    async def segment_file(
        path: Annotated[str, Field(description="Image inside the allowed folders: TIFF, PNG, JPEG, MRC, DM4 ...")],
        prompt: Annotated[str, Field(description="The request, such as 'segment all sintering necks'.")],
        out: Annotated[str, Field(description="Folder for the results; default: NAME-lisa beside the image.")] = "",
        pixel_size_nm: Annotated[float | None, Field(description="Pixel size in nm, if the file has none.")] = None,
        page: Annotated[int, Field(description="Page of a stack, from 0.")] = 0,
    ) -> Annotated[CallToolResult, SegmentResult]:
        """Segment and measure what the words ask for in one micrograph; write masks, labels, tables and an overlay."""
        call = partial(tools.segment_file, path, prompt, out, pixel_size_nm, page)
        result, picture = await anyio.to_thread.run_sync(call)
        return _answered(result.reply, result, [(picture, "image/png")])

    @server.tool()
    async def run_folder(
        context: Context,
        images: Annotated[
            str, Field(description="Folder, or pattern such as 'films/*.tif', inside the allowed folders.")
        ],
        prompt: Annotated[str, Field(description="The request about each image, such as 'segment all particles'.")],
        out: Annotated[str, Field(description="Folder for the results; default: lisa-micro-batch in the folder.")] = "",
        group_by: Annotated[
            str, Field(description="Groups: 'folder', 'name:REGEX', or a CSV file with columns image and group.")
        ] = "",
        limit: Annotated[int | None, Field(ge=1, description="Number of images, instead of all.")] = None,
        pixel_size_nm: Annotated[float | None, Field(description="Pixel size in nm, if the files have none.")] = None,
    ) -> Annotated[CallToolResult, FolderResult]:
        """Segment and measure every micrograph of a folder; write tables, statistics by group and a report.

        A run that was interrupted goes on. It may take long: about a second an image on each core.
        """

        def tell(now: Progress) -> None:
            anyio.from_thread.run(context.report_progress, now.done + now.failed, now.total, now.text)

        call = partial(tools.run_folder, images, prompt, out, group_by, limit, pixel_size_nm, progress=tell)
        result, pictures = await anyio.to_thread.run_sync(call)
        text = f"{result.done} images with {result.instances} instances; {result.failed} failed."
        return _answered(text, result, [(picture, "image/jpeg") for picture in pictures])

    return server


def serve(tools: Tools) -> None:
    """Serve on the standard streams until the client closes them."""
    make_server(tools).run("stdio")


def _answered(text: str, result: BaseModel, pictures: Sequence[tuple[bytes, str]]) -> "CallToolResult":
    from mcp.types import CallToolResult, ImageContent, TextContent

    images = [
        ImageContent(type="image", data=base64.b64encode(data).decode("ascii"), mimeType=kind)
        for data, kind in pictures
    ]
    structured = result.model_dump(mode="json")
    # clients that do not read structured content get it as text, as the specification asks
    both = [TextContent(type="text", text=text), TextContent(type="text", text=result.model_dump_json())]
    return CallToolResult(content=[*both, *images], structuredContent=structured)
