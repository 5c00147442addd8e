"""At the end of a complete run: one table, printed and kept in data/measured/."""

import report


def pytest_sessionfinish(session, exitstatus):
    """Keeps nothing of a run that failed or chose among the cases."""
    benchmarks = session.config._benchmarksession.benchmarks
    chosen = session.config.option.keyword or any("::" in argument for argument in session.config.args)
    if not benchmarks or exitstatus:
        return
    table = report.table(benchmarks)
    print("\n\n" + report.text(table))
    if not chosen:
        print("\nwritten:", *report.keep(table))
