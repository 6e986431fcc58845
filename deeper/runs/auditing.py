"""The audit as users call it, and the quick form that training runs by itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from deeper import files
from deeper.audit.auditing import audit_dataset
from deeper.audit.result import Audit, Finding
from deeper.audit.sheet import draw_evidence
from deeper.audit.treatments import far
from deeper.distortions import AnyDistortion, Policy, parse
from deeper.errors import DatasetError, DivergedError, StorageError, UsageError, printable
from deeper.records import Dataset
from deeper.runs.dataset import dataset_for
from deeper.training.options import Options

POLICY, REPORT, EVIDENCE = "policy.toml", "audit.json", "evidence.png"
# Pictures of each class that the quick form transforms.
_QUICK = 1000


def audit(
    source: str | Path | Dataset,
    *,
    distort: Sequence[str | AnyDistortion] = (),
    margin: float | None = None,
    per_class: int | None = None,
    out: str | Path | None = None,
    seed: int = 0,
    progress: Callable[[str, int, int], None] | None = None,
    notice: Callable[[str], None] | None = None,
) -> Audit:
    """Which distortions which classes can bear, told before any long training by a judge that never saw one.

    `source`: a dataset folder, or anything `deeper.build` takes. `distort`: only these, as training draws them
    (`rotation=45`, or a distortion); without any, all at several strengths. `margin`: excess traffic (0..1) that
    matters; None: 0.02 for classes of 1,000 training pictures or more, 0.10 for smaller ones. `out`: a new folder for
    `policy.toml`, `audit.json` and `evidence.png`. `progress(what, done, total)`; `notice`: lines for the user.

    Raises: UsageError, SourceError, DatasetError; StorageError, also when `out` holds something already.
    """
    chosen = [parse(one) if isinstance(one, str) else one for one in distort]
    names = [one.name for one in chosen]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UsageError(f"distortion {twice[0]} was given twice; give it once")
    target = None if out is None else Path(out)
    if target is not None and target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise StorageError(f"{printable(target)} exists already; give another --out, or delete it")
    building = None if progress is None else (lambda done, total: progress("building", done, total))
    dataset = dataset_for(source, notice=notice or (lambda text: None), progress=building)
    found = audit_dataset(
        dataset, chosen, margin=margin, per_class=per_class, seed=seed, progress=progress, notice=notice
    )
    if target is not None:
        with files.new_folder(target) as folder:
            found.policy().save(folder / POLICY)
            files.write_json(folder / REPORT, found.to_plain())
            draw_evidence(found, folder / EVIDENCE)
    return found


def warn_before_training(
    dataset: Dataset,
    options: Options,
    policy: Policy | None,
    say: Callable[[str], None],
    progress: Callable[[str, int, int], None] | None = None,
) -> tuple[Finding, ...]:
    """Audit those of a recipe's distortions that flip or rotate far, and say by name which classes cannot bear them.

    Returns what was warned of. Classes that `policy` keeps from a distortion are left out. A dataset that no judge can
    be trained on (too few pictures, say) is trained on without a warning, and that is said.
    """
    suspects = []
    for one in filter(far, options.distortions):
        # To classes alone that the policy keeps it from nothing can happen.
        if policy is not None and not any(policy.allows(one.name, dataset.classes)):
            say(
                f"{one.describe()}: the policy keeps it from all {len(dataset.classes)} classes, so it is never applied"
            )
        else:
            suspects.append(one)
    if not suspects:
        return ()
    named = ", ".join(one.describe() for one in suspects)
    say(f"{named}: checking which classes can bear it, by small networks that never saw it (--no-audit skips this)")
    try:
        found = audit_dataset(dataset, suspects, per_class=_QUICK, fill=options.fill, notice=say, progress=progress)
    except (DatasetError, DivergedError) as error:
        say(f"not checked: {error}")
        return ()
    warned: list[Finding] = []
    for one in suspects:
        allowed = policy.allows(one.name, dataset.classes) if policy else None
        bad = [
            finding
            for finding in found.findings
            if finding.distortion == one.name
            and finding.class_name is not None
            and finding.forbidden
            and (allowed is None or allowed[dataset.classes.index(finding.class_name)])
        ]
        if bad:
            say(warning(one, bad))
        warned += bad
    if not warned:
        say(f"{named}: no class is shown to be harmed" + (", by a weak judge" if found.judge.weak else ""))
    return tuple(warned)


def warning(distortion: AnyDistortion, findings: Sequence[Finding]) -> str:
    """One line that names distortion and classes and says what to do."""
    entering = sorted((one for one in findings if one.verdict == "unsafe"), key=lambda one: -one.entering.share)
    others = [one for one in findings if one.verdict != "unsafe"]
    leaving = [one for one in others if one.leaves]
    perhaps = [one for one in others if not one.leaves and not one.company]
    company = [one for one in others if not one.leaves and one.company]
    parts = []
    if entering:
        shown = ", ".join(
            f"{printable(str(one.class_name), 20)} → {printable(str(one.target), 20)} ({one.entering.share:.0%})"
            for one in entering[:8]
        )
        parts.append(f"makes pictures of one class look like another: {shown}{_more(entering, 8)}")
    for what, which in (
        ("makes pictures unlike their own class", leaving),
        ("may make pictures look like another class or unlike their own", perhaps),
        ("harms some of these classes, which have too few pictures to tell which", company),
    ):
        if which:
            shown = ", ".join(printable(str(one.class_name), 20) for one in which[:12])
            parts.append(f"{what}: {shown}{_more(which, 12)}")
    would = "would" if entering or leaving else "might"
    return (
        f"warning: {distortion.describe()} {'; '.join(parts)}. Training {would} learn the wrong meaning: leave it out "
        f"(--no-distort {distortion.name}), or keep it from these classes (deeper audit … writes a policy.toml for "
        "--policy)"
    )


def _more(findings: Sequence[Finding], shown: int) -> str:
    return f" and {len(findings) - shown} more" if len(findings) > shown else ""
