"""From which number on something is a finding; set on seeds below 100.

They were frozen before any other seed was run, but for the meaning of ``MISSED``: it was changed for a false alarm on
seed 31, when faults had been planted on seeds from 100 on. What it decides was planted anew after that.

:mod:`gatelr.experiments.diagnosis_trials` says how often they raise a false alarm, and which planted faults they find.
"""

#: A gradient has ended where it is below this part of its largest norm over lags. What is left is lost in its noise.
REACH = 0.01
#: At the lag that matters, the least part of the gradient at its strongest lag. A time constant of a third of the lag
#: leaves exp(-3), which is this.
AT_LAG = 0.05
#: A loss above this part of the best constant's has learned nothing that a reader would see.
LOSS = 0.9
#: A gate is at an end of its range within this distance of 0 or 1, where its slope g(1-g) is below a hundredth.
GATE_END = 0.01
#: A tanh unit is at an end beyond this, where its slope is below a fiftieth.
TANH_END = 0.99
#: A unit counts as saturated if its gate is at an end in this share of steps and sequences. It no longer answers.
ALWAYS = 0.95
#: Trained networks have some units whose gates stay at an end, which is how they hold or pass on; more is a fault.
SATURATED_SHARE = 0.35
#: A unit does nothing if it moves by less than this part of the median unit.
DEAD = 1e-3
#: One unit of ten that does nothing is worth a sentence.
DEAD_SHARE = 0.1
#: A difference of biases that no default initialisation has (its mean over n units is within ±0.8/n). Training does not
#: change it, since both biases of a gate get the same gradient.
BIAS_SET = 0.3
#: From here on two equal biases sum to twice what was meant. Two halves, which sum to one, do not.
BIAS_DOUBLED = 0.75
#: Neighbours in time that are less alike than the first, beside neighbours in the batch that are more alike than the
#: second, are in each other's place.
ALIKE_IN_TIME, ALIKE_IN_BATCH = 0.1, 0.3
#: Outputs that change by this part when samples are permuted do so beyond rounding in float32.
PERMUTED = 1e-3
#: The share of the gradient beyond a window of truncation from which on cutting it changes what is learned.
BEYOND_WINDOW = 0.1
#: A step this large beside its weight replaces the weight instead of changing it.
STEP = 0.5
#: A largest step this small beside its weight changes nothing within ten thousand iterations.
STEP_SMALL = 1e-6
#: How many steps on the same batch are tried out to see whether a parameter leaves the numbers. Fewer are if the model
#: is large, by what a step costs, steps x sequences x parameters.
LOOK_AHEAD, LOOK_AHEAD_AT_LEAST, LOOK_AHEAD_COST = 100, 10, 1e8
#: A norm this many times the threshold is clipped at every step, and the learning rate is no longer what is set.
CLIPPED = 10.0
#: The same where something was learned. A clipped step has its direction still, which Adam rescales anyway.
CLIPPED_LEARNED = 100.0
#: Sequences whose norms differ by this factor, with a threshold above them all, are what clipping should hold back.
CLIP_SPREAD = 1000.0
#: Growth over the whole sequence along the fastest direction, ln(100), which is a gradient a hundred times as large.
GROWTH = 4.6
#: What the network gets wrong can be told from inputs at a lag if a linear fit on them would take away this part of the
#: best constant's loss, that is the part of the error, times the loss beside the constant's, …
MISSED = 0.1
#: … and explains the error by this many standard deviations more than chance.
MISSED_SIGMAS = 8.0
#: An input is used at a lag if another sequence's in its place changes the output by this part of all it can change.
USED = 0.05
