"""Runs a company's sync without Dagster's machinery: the bodies of the assets themselves, in their order.

A run through Dagster takes seconds, and a search over stories needs hundreds of runs. What a run does is not
repeated here: every asset's own function is called with the tables of the assets before it, as Dagster would
call it. ``test_runs`` holds both ways of running to the same requests.
"""

import inspect
import itertools
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from graphlib import TopologicalSorter
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any

import dagster as dg
from upath import UPath

from mc_pipeline.definitions import build_defs
from mc_pipeline.defs.jobs import OPT_OUT_ASSETS, SYNC_COMPANY
from mc_pipeline.defs.partitions import CHANGES, COMPANY_STATUS, READ_TAG
from mc_pipeline.ledger import Ledger
from mc_pipeline.mailchimp.connections import ConnectionSlots, InProcessSlots
from mc_pipeline.mailchimp.retry import RetryPolicy as MailchimpRetryPolicy
from mc_pipeline.odoo.client import RetryPolicy as OdooRetryPolicy
from mc_pipeline.settings import Settings
from mc_pipeline.sync.systems import Systems, utc_now
from mc_pipeline.tables import Table, schemas
from mc_pipeline.tables.parquet import load_table, storage_folder, store_table
from mc_pipeline_tests.new_ledger import put_new_ledger

_run_numbers = itertools.count(1)


def decorated(op: dg.OpDefinition) -> Callable[..., Any]:
    """The function that a step was made of."""
    compute: Any = op.compute_fn
    function: Callable[..., Any] = compute.decorated_fn
    return function


class Killed(BaseException):
    """The process dies here; no ``Exception``, like everything that ends a process or a Dagster step."""


class BlockedError(Exception):
    """A blocking check failed; ``checks`` are its results."""

    def __init__(self, checks: list[dg.AssetCheckResult]) -> None:
        super().__init__("; ".join(f"{check.check_name}: {check.description}" for check in checks))
        self.names = [check.check_name for check in checks]


@dataclass
class Death:
    """When a run's process dies: at the boundary with this number, counted over the whole run.

    ``place`` says which boundaries count: before a request to Mailchimp is sent, after it was answered and
    before anybody heard the answer, or in front of any use of the ledger. A dead process writes nothing any
    more; ``leaves_ledger`` False is an interruption instead: requests under way are still recorded.
    """

    place: str = "never"
    number: int = 0
    writes_afterwards: bool = False
    dead: bool = False
    _seen: int = 0

    def passes(self, place: str) -> None:
        """Die at the chosen boundary, and everywhere after it."""
        if self.dead and not (self.writes_afterwards and place == "ledger"):
            raise Killed(place)
        if place == self.place:
            self._seen += 1
            if self._seen > self.number:
                self.dead = True
                raise Killed(place)


class MortalSlots:
    """Connections of a process that may die around each request."""

    def __init__(self, slots: ConnectionSlots, death: Death) -> None:
        self._slots, self._death = slots, death

    @contextmanager
    def slot(self) -> Iterator[None]:
        with self._slots.slot():
            self._death.passes("before_request")
            yield
            self._death.passes("after_request")


class MortalSystems(Systems):
    """The systems of a run that may die; its pauses take no time."""

    def __init__(
        self,
        settings: Settings,
        ledger_file: Path,
        *,
        death: Death | None = None,
        clock: Callable[[], datetime] = utc_now,
        attempts: int = 3,
        pause: Callable[[float], None] = lambda seconds: None,
        lease_time_to_live: timedelta = timedelta(minutes=3),
    ) -> None:
        super().__init__(
            settings,
            clock=clock,
            lease_time_to_live=lease_time_to_live,
            odoo_retry=OdooRetryPolicy(attempts=attempts, sleep=pause),
            mailchimp_retry=MailchimpRetryPolicy(attempts=attempts, sleep=pause),
        )
        self._ledger_file = ledger_file
        self._death = death or Death()

    @cached_property
    def ledger(self) -> Ledger:
        def mortal_clock() -> datetime:
            self._death.passes("ledger")
            return self.now()

        put_new_ledger(self._ledger_file)
        return Ledger.open(f"sqlite:///{self._ledger_file}", clock=mortal_clock)

    def connection_slots(self, account: str, maximum: int) -> ConnectionSlots:
        return MortalSlots(InProcessSlots(maximum), self._death)


@dataclass
class Run:
    """A run that is over: its tables, metadata and checks of the plan, as far as it came, and what ended it.

    ``steps`` are those that succeeded, ``failed_step`` is the one that did not.
    """

    run_id: str
    steps: list[str] = field(default_factory=list)
    failed_step: str | None = None
    tables: dict[str, Table] = field(default_factory=dict)
    metadata: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    checks: dict[str, dg.AssetCheckResult] = field(default_factory=dict)
    failure: BaseException | None = None

    @property
    def succeeded(self) -> bool:
        return self.failure is None

    @property
    def needs_approval(self) -> bool:
        """Whether something of the plan waits for a person."""
        return "within_guards" in self.checks and not self.checks["within_guards"].passed


def run_company(
    systems: Systems,
    company: str,
    *,
    only_changes: bool = False,
    only_opt_outs: bool = False,
    go_on_from: Run | None = None,
    meanwhile: Callable[[str, str], None] | None = None,
    before: Mapping[str, Callable[[], object]] = MappingProxyType({}),
) -> Run:
    """Sync one company and return what came of it; nothing is raised, not even a death.

    ``before``: what happens in the world just before a step, by the step's name.

    ``only_changes``: Odoo is asked only for what changed since the last complete read. ``only_opt_outs``:
    what the sensor for opt-outs starts. ``go_on_from``: only what did not succeed in that run, with the
    tables of what did (Dagster's re-execution from failure). ``meanwhile`` is called with a moment
    (:data:`MOMENTS`) and the step's name; then tables go through their files, as the I/O manager has them.
    """
    run = Run(run_id=f"run-{next(_run_numbers)}")
    if go_on_from is not None:
        run.steps, run.tables = list(go_on_from.steps), dict(go_on_from.tables)
        run.metadata, run.checks = dict(go_on_from.metadata), dict(go_on_from.checks)
    context = SimpleNamespace(
        partition_key=company,
        run=dg.DagsterRun(
            job_name=SYNC_COMPANY, run_id=run.run_id, tags={READ_TAG: CHANGES} if only_changes else {}
        ),
        log=logging.getLogger(__name__),
    )
    try:
        for name, step in _steps(systems.settings).items():
            if name not in run.steps and (name in OPT_OUT_ASSETS or not only_opt_outs):
                run.failed_step = name
                before.get(name, _nothing_happens)()
                if meanwhile is None:
                    _take(run, name, _call(step, context, systems, run.tables))
                else:
                    _run_by_files(run, name, step, context, systems, meanwhile)
                run.steps.append(name)
        run.failed_step = None
    except BaseException as failure:
        if isinstance(failure, KeyboardInterrupt):
            raise
        run.failure = failure
    return run


LOADED, DONE, STORED = MOMENTS = ("loaded", "done", "stored")
"""Moments of a step: its tables are loaded, its work is done, its own tables are stored."""


def _run_by_files(
    run: Run,
    name: str,
    step: Callable[..., Any],
    context: SimpleNamespace,
    systems: Systems,
    meanwhile: Callable[[str, str], None],
) -> None:
    """One step as Dagster runs it with the I/O manager of the definitions."""
    company = context.partition_key

    def path(table: str) -> UPath:
        return storage_folder() / table / f"{company}.parquet"

    needed = inspect.signature(step).parameters.keys() & run.tables.keys()
    loaded = {table: load_table(schemas.ALL[table], path(table), systems) for table in needed}
    meanwhile(LOADED, name)
    results = _call(step, context, systems, loaded)
    meanwhile(DONE, name)
    _take(run, name, results)
    for result in results:
        if isinstance(result, dg.MaterializeResult):
            table = result.asset_key.path[-1] if result.asset_key else name
            store_table(schemas.ALL[table], result.value, path(table), systems)
            systems.forget_again()
    meanwhile(STORED, name)


def _nothing_happens() -> None:
    """Most steps have no story of their own."""


def _call(
    step: Callable[..., Any], context: SimpleNamespace, systems: Systems, tables: Mapping[str, Table]
) -> list[Any]:
    def given_for(parameter: inspect.Parameter) -> Any:
        if parameter.name == "systems":
            return systems
        kind = parameter.annotation
        # A config of which a run says nothing has its defaults.
        return kind() if isinstance(kind, type) and issubclass(kind, dg.Config) else tables[parameter.name]

    parameters = inspect.signature(step).parameters.values()
    inputs = {each.name: given_for(each) for each in parameters if each.name != "context"}
    given = step(context, **inputs)
    return list(given) if inspect.isgenerator(given) else [given]


def _take(run: Run, step: str, results: list[Any]) -> None:
    for result in results:
        if isinstance(result, dg.MaterializeResult):
            name = result.asset_key.path[-1] if result.asset_key else step
            run.tables[name] = result.value
            run.metadata[name] = result.metadata or {}
        elif isinstance(result, dg.AssetCheckResult):
            run.checks[str(result.check_name)] = result
    failed = [
        result
        for result in results
        if isinstance(result, dg.AssetCheckResult)
        and not result.passed
        and result.severity == dg.AssetCheckSeverity.ERROR
    ]
    if failed:
        raise BlockedError(failed)


_made: dict[tuple[str, ...], dict[str, Callable[..., Any]]] = {}


def _steps(settings: Settings) -> Mapping[str, Callable[..., Any]]:
    """The functions of the assets in an order that Dagster might run them in, by the name of their step.

    The blocking checks of the plan come right behind it: what they refuse is not pushed.
    """
    key = tuple(settings.companies)
    if key not in _made:
        definitions = build_defs(settings)
        # Assets that are only described, as the months of orders are, are fed by others.
        executed = [each for each in definitions.assets or () if isinstance(each, dg.AssetsDefinition)]
        step_of = {asset: each for each in executed for asset in each.keys}
        graph = {
            each.op.name: {step_of[dependency].op.name for dependency in each.dependency_keys}
            for each in step_of.values()
        }
        functions = {each.op.name: decorated(each.op) for each in step_of.values()}
        (checks,) = [
            each for each in definitions.asset_checks or () if each.op.name == "audience_plan_checks"
        ]
        _made[key] = {}
        urgency = {each.op.name: int(each.op.tags.get("dagster/priority", 0)) for each in step_of.values()}
        for name in _in_order(graph, urgency):
            if name == COMPANY_STATUS:
                continue  # it tells what Dagster recorded of a run, and these runs have no record
            _made[key][name] = functions[name]
            if name == "audience_plan":
                _made[key][checks.op.name] = decorated(checks.op)
    return _made[key]


def _in_order(graph: dict[str, set[str]], urgency: dict[str, int]) -> Iterator[str]:
    """As Dagster does: of the steps that could run, the one with the highest priority runs first."""
    sorter = TopologicalSorter(graph)
    sorter.prepare()
    ready: list[str] = []
    while sorter.is_active():
        ready += sorter.get_ready()
        ready.sort(key=lambda name: -urgency[name])
        step = ready.pop(0)
        yield step
        sorter.done(step)
