"""The tools for language models: what they return, and that nothing outside of the allowed folders is touched."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import os
import sys
from datetime import timedelta

import pytest
from batch_images import disc_image, make_folder, write_image
from batch_stand_in import StandInSource
from PIL import Image

from lisa_micro.mcp.allowed import AllowedFolders
from lisa_micro.mcp.tools import Tools
from lisa_micro.types import InputError

pytest.importorskip("mcp", reason="the extra [mcp] is missing")

from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.shared.memory import create_connected_server_and_client_session

from lisa_micro.mcp.server import make_server


@pytest.fixture
def tools(tmp_path):
    make_folder(tmp_path / "lab" / "films", 4, 2)
    (tmp_path / "secret").mkdir()
    write_image(tmp_path / "secret" / "film.tif", disc_image(1))
    return Tools(AllowedFolders.of([tmp_path / "lab"]), StandInSource(), workers=1)


def talk(tools, use):
    """Call ``use`` with a client that is connected to the server."""

    async def run():
        server = make_server(tools)
        async with create_connected_server_and_client_session(server._mcp_server) as session:
            return await use(session)

    return asyncio.run(run())


def test_tools_have_schemas_of_their_results(tools):
    listed = talk(tools, lambda session: session.list_tools()).tools
    assert {one.name for one in listed} == {"segment_file", "run_folder"}
    for one in listed:
        assert one.description and one.inputSchema["properties"]["prompt"]["description"]
        assert one.outputSchema["type"] == "object"


def test_one_file_gives_structured_content_an_image_and_files(tools, tmp_path):
    arguments = {"path": "films/A/film_000.tif", "prompt": "segment all particles"}
    answer = talk(tools, lambda session: session.call_tool("segment_file", arguments))
    assert not answer.isError
    found = answer.structuredContent
    assert found["found"] and found["segments"][0]["unit"] == "nm" and found["segments"][0]["count"] > 0
    pictures = [one for one in answer.content if one.type == "image"]
    with Image.open(io.BytesIO(base64.b64decode(pictures[0].data))) as picture:
        assert picture.format == "PNG"
    assert json.loads(answer.content[1].text) == found
    for path in found["files"]:
        assert os.path.exists(path) and path.startswith(str(tmp_path / "lab"))


@pytest.mark.slow
def test_a_folder_gives_statistics_and_progress(tools, tmp_path):
    steps = []

    async def use(session):
        async def told(progress, total, message):
            steps.append((progress, total))

        arguments = {"images": "films", "prompt": "particles", "group_by": "folder"}
        return await session.call_tool("run_folder", arguments, progress_callback=told)

    answer = talk(tools, use)
    found = answer.structuredContent
    assert not answer.isError and found["done"] == 4 and found["failed"] == 0
    assert {row["group"] for row in found["statistics"]} == {"A", "B"}
    assert any(path.endswith("report.html") for path in found["files"])
    assert steps[-1] == (4, 4)
    assert sum(one.type == "image" for one in answer.content) == 3


@pytest.mark.parametrize(
    "path", ["../secret/film.tif", "{root}/secret/film.tif", "link.tif", "", "films/A/missing.tif"]
)
def test_what_cannot_be_used_is_an_error_in_one_sentence(tools, tmp_path, path):
    os.symlink(tmp_path / "secret" / "film.tif", tmp_path / "lab" / "link.tif")
    arguments = {"path": path.format(root=tmp_path), "prompt": "particles"}
    answer = talk(tools, lambda session: session.call_tool("segment_file", arguments))
    assert answer.isError and answer.content[0].text.endswith(".")
    assert not list((tmp_path / "secret").glob("*lisa*"))


def test_paths_outside_are_refused_for_results_patterns_and_groups(tools, tmp_path):
    for arguments in (
        {"images": "../secret/*.tif", "prompt": "p"},
        {"images": "films", "prompt": "p", "out": str(tmp_path / "secret" / "out")},
        {"images": "films", "prompt": "p", "group_by": str(tmp_path / "secret" / "groups.csv")},
        {"images": "nothing-*", "prompt": "p"},
    ):
        with pytest.raises(InputError):
            tools.run_folder(**arguments)
    for folders in ([], [tmp_path / "missing"]):
        with pytest.raises(InputError):
            AllowedFolders.of(folders)


@pytest.mark.slow
def test_the_command_speaks_on_its_standard_streams(tmp_path):
    """The real command in a process of its own, with the default preset."""
    write_image(tmp_path / "film.tif", disc_image(1, side=96))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    server = StdioServerParameters(
        command=sys.executable, args=["-m", "lisa_micro", "mcp", "--allow", str(tmp_path)], env=environment
    )

    async def use():
        async with stdio_client(server) as (read, write), ClientSession(read, write) as session:
            hello = await session.initialize()
            arguments = {"path": "film.tif", "prompt": "segment all particles"}
            return hello, await session.call_tool(
                "segment_file", arguments, read_timeout_seconds=timedelta(seconds=300)
            )

    hello, answer = asyncio.run(use())
    assert hello.serverInfo.name == "lisa-micro"
    assert not answer.isError and answer.structuredContent["reply"]
