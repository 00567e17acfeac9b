"""What the tables of a report mean, in Markdown: the same texts in all its forms."""

from fobench.report.markdown import Markdown

METHODS = Markdown(
    "n (errors): seeds; n (times): seeds whose measured time is paired with that of their baseline "
    "on the same machine. Time saved and speedup: mean of the logs of the paired ratios; "
    '"predicted": not measured, but what the profile of a training step predicts, without an '
    "interval. CPU time saved: the same as time saved, of processor seconds. Error change: change "
    "of the test error, mean over the pairs. Against fewer steps: the test error minus the one "
    "that the baseline reaches in the same time, by linear interpolation between the baselines "
    "trained for fewer steps; below 0, the method is better; – where there is no such baseline, or "
    "the method saves more time than the shortest one. Seeds without a measured time are compared "
    'at the time that the profile predicts ("time predicted"), or without a profile at that of the '
    "others; the interval is wider by what an error of 4 points in these seeds' time would change. "
    "In brackets 95 % Student t intervals over the seeds; a single seed has none. Pareto: no other "
    "method is at least as fast and as accurate and better in one, by the means."
)
ENSEMBLES = Markdown(
    "Test errors. That of all M members, by the mean of their softmax, is the test error of the "
    "method in all other tables and in figures; that of fewer never is, since choosing among them "
    "would be choosing by test error. Means over the seeds; gain: that of the last member alone "
    "minus that of all, in pairs; in brackets 95 % intervals. Against fewer steps without "
    "freezing: the test error minus that of the same ensemble without freezing, trained for fewer "
    "steps in the same time; below 0, freezing pays off; – where there is none, or the method "
    "saves more time than the shortest. Evaluation: the cost of evaluating the "
    "ensemble as a multiple of one model's, by the FLOPs of the forward pass and as measured in "
    "timed runs, the mean of the logs of ratios; units that members share run once. It is no part "
    "of the training time. Validation errors, in curves and in the time to one of them, are those "
    "of the member that is being trained. What an ensemble gains over a single model is not due "
    "to freezing."
)
CONTROL = Markdown("As in the first table, against the control in place of the baseline.")
PREDICTIONS = Markdown(
    "Time saved as it was measured, and as it was predicted. By profile: from the seconds of a "
    "training step at each number of frozen units, measured on the machine; by FLOPs: the share of "
    "FLOPs saved, without stores; by the paper's estimate: backward costs as much as forward, by "
    "the cost of convolutions. – where the run recorded no such prediction."
)
STORES = Markdown(
    "n (errors): seeds whose run is paired with its baseline and with the run of the same inputs "
    "without a store, on the same machine; n (times): those of which all three were timed; of the "
    "others only the errors count. Points of time are percent of the baseline's training time. "
    "What the store saved is measured from the epoch of the first build on, since the work is "
    "equal before. Building and reading are percent of the run's own time. Means of the "
    "percentages, not of logs as above."
)
TARGET = Markdown(
    "A run that does not reach it counts as never. The validation error of an ensemble is that of "
    "the member that is being trained."
)
ANSWERS = Markdown(
    "One setting an experiment, chosen beforehand or by validation error, never by test error; "
    "no ensemble, as what it gains over a single model is not due to freezing. "
    "Error change: against the baseline. Against fewer steps: the test error minus the one that "
    "the baseline reaches in the same time, by linear interpolation between the baselines trained "
    "for fewer steps; below 0, freezing pays off. n of distances: the seeds that count for it; one "
    "without a measured time is compared at the time that the profile predicts. In brackets 95 % "
    "intervals over the seeds; that of distances at predicted times is wider by what an error of "
    "4 points in those times would change."
)
CLAIMS = Markdown(
    "Margins and settings are fixed before looking at results; where a setting is chosen, then by "
    "validation error. A claim holds if the 95 % interval of each of its figures lies wholly "
    "inside its margin, fails if that of one lies wholly outside, and is undecided otherwise; "
    "what would decide it: the number of seeds, from the variance seen, or what to run."
)
