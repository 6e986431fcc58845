"""The report's sections as HTML. Everything that comes from data goes through `escape`."""

from __future__ import annotations

from collections.abc import Sequence

from deeper.inspection.report.album import Album
from deeper.inspection.report.figures import Bar, reliability, shares
from deeper.inspection.report.text import escape
from deeper.inspection.result import Against, Cause, Collision, Evidence, Inspection, Slice
from deeper.inspection.verdicts import caused, counts, plainly

# Collisions shown on the card of an accused distortion, and of another; the gallery has all that were kept.
_SHOWN, _SHOWN_OTHERWISE = 6, 2
# Pairs of classes on the card of an accused distortion, whatever their p-values; significant ones besides.
_WORST = 4
# Classes with a row of their own in the table, worst first.
_CLASSES = 1_000
# Rows of comparison lists.
_LISTED = 60


def percent(share: float | None, digits: int = 2) -> str:
    """For people; a dash where there is no number."""
    return "–" if share is None else f"{share * 100:.{digits}f} %"


def interval(low: float, high: float, digits: int = 2) -> str:
    """Two shares in percent."""
    return f"{low * 100:.{digits}f}–{high * 100:.{digits}f} %"


def prose(text: str) -> str:
    """A sentence as HTML; what stands between backticks is a command."""
    parts = escape(text).split("`")
    return "".join(f"<code>{part}</code>" if number % 2 else part for number, part in enumerate(parts))


def headline(found: Inspection) -> str:
    """Accuracy, errors, and the one sentence."""
    evaluation = found.evaluation
    low, high = evaluation.interval
    judge = found.judge
    # Of test pictures the box below says it, larger.
    verdict = found.verdict.partition(" (diagnosis only")[0] if found.diagnosis_only else found.verdict
    who = (
        f"{judge.description}; {percent(judge.accuracy_here)} right on these pictures." if judge else "None was asked."
    )
    facts = [
        ("Network", found.model),
        ("Dataset", f"{found.dataset} · {found.split}, {evaluation.total:,} pictures"),
        ("Judge", who),
    ]
    rows = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(text)}</dd></div>" for name, text in facts)
    warning = (
        '<p class="callout"><strong>Diagnosis only.</strong> These are test pictures: whoever chooses by what is shown '
        "here has spent them.</p>"
        if found.diagnosis_only
        else ""
    )
    weak = (
        '<p class="callout"><strong>A weak judge.</strong> The reference networks know these pictures poorly; their '
        "readings accuse nothing.</p>"
        if judge is not None and judge.weak
        else ""
    )
    return (
        f'<header class="head"><p class="kicker">Why does <b>{escape(found.run)}</b> err?</p>'
        f'<div class="figures"><p class="figure"><span>{percent(evaluation.accuracy)}</span> accuracy, 95 % interval '
        f'{interval(low, high)}</p><p class="figure"><span>{len(found.wrong):,}</span> '
        f"error{'s' if len(found.wrong) != 1 else ''} in {evaluation.total:,} pictures</p></div>{_before(found)}"
        f'<p class="lead">{prose(verdict)}</p>{warning}{weak}<dl class="facts">{rows}</dl></header>'
    )


def _before(found: Inspection) -> str:
    """The accuracy by the labels as they were, where a person corrected some."""
    before = found.evaluation.before_correction
    if before is None:
        return ""
    low, high = before["interval"]
    excluded = f"; {before['excluded']:,} excluded pictures are in neither" if before["excluded"] else ""
    return (
        f'<p class="fine">With the labels before correction: {percent(before["accuracy"])}, 95 % interval '
        f"{interval(low, high)}; {before['relabelled']:,} relabelled{excluded}.</p>"
    )


def evidence(found: Inspection, album: Album) -> str:
    """A card for each distortion in training, the strongest evidence first."""
    if not found.evidence:
        return (
            '<section id="distortions"><h2>Training distortions</h2><p>The run was trained without distortions, or it '
            "makes no errors: nothing can be accused.</p></section>"
        )
    cards = "".join(_unjudged(one) if one.method == "unjudged" else _card(one, album) for one in found.evidence)
    return (
        '<section id="distortions"><h2>Training distortions</h2><p class="explain">For each: how many errors <em>look '
        "like the class that was wrongly given</em> once the distortion is undone, as a judge reads them that never saw "
        "it. Beside it the same count for transforms that were in no training picture (placebos), and for correct "
        "pictures.</p>"
        f"{cards}</section>"
    )


def _unjudged(one: Evidence) -> str:
    return (
        f'<article class="card"><h3>{escape(one.description)} <span class="badge">not judged</span></h3>'
        f'<p class="verdict">{prose(one.verdict)}</p>{_cause(one.cause) if one.cause else ""}</article>'
    )


def _card(one: Evidence, album: Album) -> str:
    bars = [
        Bar(
            plainly(one.distortion),
            one.collided / max(1, one.errors),
            one.collided_interval,
            "distortion",
            f"{one.collided} of {one.errors}",
        )
    ]
    bars += [
        Bar(
            f"placebo: {each.description}",
            each.collided / max(1, one.errors),
            each.collided_interval,
            "placebo",
            f"{each.collided}",
        )
        for each in one.placebos
    ]
    if one.correct:
        bars.append(
            Bar(
                "correct pictures",
                one.correct_collided / one.correct,
                one.correct_interval,
                "control",
                f"{one.correct_collided} of {one.correct}",
            )
        )
    badge = '<span class="badge">not accused</span>'
    if one.accused or caused(one):
        badge = f'<span class="badge accused">{"accused" if one.accused else "a cause"}</span>'
    method = {
        "unjudged": "",
        "inverse": f"undone at {one.tries} point{'s' if one.tries != 1 else ''} of its range",
        "neighbours": "no inverse: nearest distorted training pictures in the judge's features",
        "none": "cannot change these pictures",
    }[one.method]
    facts = (
        f"p = {one.adjusted_p_value:.2g} against the placebo that is hardest to tell from (McNemar, Holm over distortions)"
        f" · {method} · the judge reads {one.judged} of the {one.errors} errors rightly as they are"
    )
    rescue = (
        f"Rescue (weak evidence): once distorted forwards, the run itself reads {one.rescued} of {one.errors} errors rightly "
        f"({counts(one.rescued_interval, one.errors)}); by the strongest placebo {one.placebo_rescued} "
        f"({counts(one.placebo_rescued_interval, one.errors)}); and {one.correct_rescued} of {one.correct} correct pictures "
        f"({interval(*one.correct_rescued_interval, 1)})"
    )
    pairs = "".join(
        f"<li><b>{escape(pair.label)}</b> → <b>{escape(pair.predicted)}</b>: {pair.collided} of {pair.errors}, placebo "
        f"{pair.placebo_collided} (p = {pair.adjusted_p_value:.2g})</li>"
        for number, pair in enumerate(one.pairs)
        if pair.significant or (one.accused and number < _WORST)
    )
    most = _SHOWN if one.accused else _SHOWN_OTHERWISE
    strips = "".join(_strip(each, album) for each in one.collisions[:most])
    more = (
        f'<p class="more">{min(most, len(one.collisions))} of {one.collided} collisions, the most convincing; the gallery '
        "below marks errors that collide.</p>"
        if one.collided > most
        else ""
    )
    return (
        f'<article class="card{" is-accused" if one.accused else ""}"><h3>{escape(one.description)} {badge}</h3>'
        f'<p class="verdict">{prose(one.verdict)}</p>'
        f"{shares(bars, f'{one.description}: share of errors that collide, with controls')}"
        f'<p class="fine">{escape(facts)}. {escape(rescue)}.</p>'
        + (f'<ul class="pairs">{pairs}</ul>' if pairs else "")
        + (_cause(one.cause) if one.cause else "")
        + (f'<div class="strips">{strips}</div>{more}' if strips else "")
        + "</article>"
    )


def _strip(one: Collision, album: Album) -> str:
    """x | x transformed | the nearest training picture, as it was and distorted."""
    shown = [
        (one.picture, f"is {one.label}, was called {one.predicted}"),
        (
            one.transformed,
            one.undone + (f": the judge says {one.predicted}" if one.judge_probability is not None else ""),
        ),
        (one.neighbour, f"nearest training {one.predicted}"),
        (one.distorted, "the same, distorted"),
    ]
    figures = "".join(
        f'<figure><img data-picture="{number}" alt="{escape(text)}"><figcaption>{escape(text)}</figcaption></figure>'
        for picture, text in shown
        if (number := album.add(picture)) is not None
    )
    return f'<div class="strip"><p class="id">{escape(one.id)}</p><div class="four">{figures}</div></div>'


def _cause(one: Cause) -> str:
    low, high = one.fewer_interval
    other_low, other_high = one.elsewhere_interval
    name = "Cause" if one.kind == "cause" else "Removal effect"
    return (
        f'<div class="cause"><h4>{name}</h4><p>{prose(one.verdict)}</p><table><thead><tr><th scope="col"></th><th scope="col">'
        f'with</th><th scope="col">without</th></tr></thead><tbody><tr><th scope="row">accuracy</th><td>'
        f'{percent(one.accuracy_with)}</td><td>{percent(one.accuracy_without)}</td></tr><tr><th scope="row">errors, run by '
        f"run</th><td>{', '.join(map(str, one.errors_with))}</td><td>{', '.join(map(str, one.errors_without))}</td></tr>"
        f'</tbody></table><p class="fine">{one.seeds} runs of {one.steps:,} steps per arm. Of this run’s errors '
        f"{one.fewer:.1f} fewer without ({low:.1f} to {high:.1f}); elsewhere {one.elsewhere:+.1f} ({other_low:+.1f} to "
        f"{other_high:+.1f}). Exact permutation of the runs: p = {one.p_value:.2g}.</p></div>"
    )


def classes(found: Inspection) -> str:
    """Per class, the least recalled first."""
    rows = sorted(found.evaluation.per_class, key=lambda one: (one.recall is None, one.recall or 0, one.name))
    body = []
    for one in rows[:_CLASSES]:
        low_high = f"{interval(*one.recall_interval, 1)}" if one.recall_interval else "–"
        body.append(
            f'<tr><th scope="row">{escape(one.name)}</th><td>{one.support:,}</td><td>{one.correct:,}</td>'
            f"<td>{percent(one.recall)}</td><td>{low_high}</td><td>{percent(one.precision)}</td><td>{percent(one.f1)}</td></tr>"
        )
    cut = f'<p class="fine">The {_CLASSES:,} worst of {len(rows):,} classes.</p>' if len(rows) > _CLASSES else ""
    opened = " open" if len(rows) <= 20 else ""
    return (
        f'<section id="classes"><h2>Class by class</h2><details{opened}><summary>{len(rows):,} '
        f"class{'es' if len(rows) != 1 else ''}, the least recalled first</summary>"
        '<div class="wide"><table class="numbers"><thead><tr><th scope="col">class</th><th scope="col">pictures</th>'
        '<th scope="col">right</th><th scope="col">recall</th><th scope="col">95 % interval</th><th scope="col">precision</th>'
        f'<th scope="col">F1</th></tr></thead><tbody>{"".join(body)}</tbody></table></div>{cut}</details></section>'
    )


def calibration(found: Inspection) -> str:
    """Whether probabilities mean what they say."""
    evaluation = found.evaluation
    return (
        '<section id="calibration"><h2>Do its probabilities mean what they say?</h2><div class="beside">'
        f"{reliability(evaluation.reliability)}<p>On the dashed line an answer of 80 % is right in 80 of 100 cases. Below it the "
        "network is too sure of itself, above it too shy. The bars count the answers of each confidence.<br>Expected "
        f"calibration error: <b>{percent(evaluation.calibration_error)}</b>.</p></div></section>"
    )


def slices(given: Sequence[Slice]) -> str:
    """Parts of the pictures whose accuracy was compared with the rest."""
    if not given:
        return ""
    worse = sum(one.worse for one in given)
    body = "".join(
        f'<tr{" class=worse" if one.worse else ""}><th scope="row">{escape(one.name)}</th><td>{one.pictures:,}</td>'
        f"<td>{percent(one.accuracy)}</td><td>{interval(*one.interval, 1)}</td><td>{percent(one.rest_accuracy)}</td>"
        f"<td>{one.adjusted_p_value:.2g}</td></tr>"
        for one in given
    )
    said = (
        f"{worse} part{'s are' if worse != 1 else ' is'} significantly worse than the rest"
        if worse
        else "No part is significantly worse than the rest"
    )
    return (
        f'<section id="slices"><h2>Parts of the data</h2><p>{said} (Fisher’s exact test, Benjamini–Hochberg over all parts).</p>'
        '<div class="wide"><table class="numbers"><thead><tr><th scope="col">part</th><th scope="col">pictures</th>'
        '<th scope="col">accuracy</th><th scope="col">95 % interval</th><th scope="col">the rest</th><th scope="col">p</th>'
        f"</tr></thead><tbody>{body}</tbody></table></div></section>"
    )


def against(other: Against | None) -> str:
    """What another run mends and breaks."""
    if other is None:
        return ""
    low, high = other.interval

    def listed(ids: Sequence[str]) -> str:
        items = "".join(f"<li>{escape(one)}</li>" for one in ids[:_LISTED])
        rest = f"<li>and {len(ids) - _LISTED:,} more</li>" if len(ids) > _LISTED else ""
        return f"<ul class=ids>{items}{rest}</ul>"

    return (
        f'<section id="against"><h2>Against {escape(other.run)}</h2><p>It is right in {percent(other.accuracy)}; this run minus '
        f"it: {other.difference * 100:+.2f} points ({low * 100:+.2f} to {high * 100:+.2f}; exact McNemar p = {other.p_value:.2g}). "
        f"{other.both_wrong:,} pictures are wrong in both.</p><details><summary>It mends {len(other.mended):,} errors</summary>"
        f"{listed(other.mended)}</details><details><summary>It breaks {len(other.broken):,} that are right here</summary>"
        f"{listed(other.broken)}</details></section>"
    )


def notes(found: Inspection, omitted: str) -> str:
    """What a reader must know besides. `omitted`: what has no picture, in words."""
    texts = [*found.notes, *([omitted] if omitted else [])]
    items = "".join(f"<li>{escape(text)}</li>" for text in texts)
    spent = ", ".join(f"{escape(name)} {seconds:.0f} s" for name, seconds in found.seconds.items() if seconds >= 0.5)
    return (
        f'<section id="notes"><h2>Notes</h2><ul>{items}</ul><p class="fine">Collision, rescue and cause are three questions and '
        "are never added up; only runs trained without a distortion can say that it explains an error. "
        f"{f'Time: {spent}.' if spent else ''}</p></section>"
    )
