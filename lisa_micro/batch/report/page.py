"""``report.html``: one file that opens without a network."""

from __future__ import annotations

from typing import Any

from lisa_micro.batch.report.charts import Figure, topic_figures
from lisa_micro.batch.report.content import Content, heading
from lisa_micro.results.pages import data_url, render_page

MOST_OUTLIERS = 200


def report_page(content: Content) -> str:
    """The page as HTML text."""
    from plotly.offline import get_plotlyjs

    record, figures, topics = content.record, {}, []
    for number, topic in enumerate(content.topics, start=1):
        made = topic_figures(topic)
        figures.update(_named(number, made))
        topics.append(
            {
                "number": number,
                "heading": heading(topic, content.topics),
                "unit": topic.unit,
                "groups": topic.groups,
                "notes": topic.notes,
                "figures": made,
                "comparisons": topic.comparisons,
                "fits": any(group.statistics is not None for group in topic.groups),
            }
        )
    thumbnails = [
        {
            "name": one.name,
            "text": one.text + (f" (group {one.group})" if one.group else ""),
            "short": one.short + (f" ({one.group})" if one.group else ""),
            "file": one.file,
            "flag": one.flag,
            "picture": data_url(one.jpeg),
        }
        for one in content.pictures
    ]
    return render_page(
        "batch.html",
        {
            "title": content.title,
            "date": content.date,
            "requests": content.tables.titles,
            "version": record["version"],
            "preset": record["preset"],
            "counts": record["images"],
            "grouped": content.tables.grouped,
            "group_names": content.group_names,
            "topics": topics,
            "figures": figures,
            "outliers": content.outliers[:MOST_OUTLIERS],
            "thumbnails": thumbnails,
            "failures": content.failures,
            "methods": content.methods,
            "command": record["command"] or "lisa-micro batch (run.json has the settings)",
            "plotly": get_plotlyjs().replace("</script", "<\\/script"),
        },
    )


def _named(number: int, figures: list[Figure]) -> dict[str, Any]:
    return {f"plot-{number}-{k}": figure for k, figure in enumerate(figures, start=1)}
