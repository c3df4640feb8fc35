"""`plumbline redteam --target M --attacker M|FILE --judge J --out DIR`: questions that make a model misbehave, written by models."""

from __future__ import annotations

from plumbline.cli.signature import Answer, need


def redteam(
    *,
    target: str = "",
    attacker: str = "",
    judge: str = "",
    out: str = "",
    how: str = "zero-shot",
    n: int = 500,
    bad_below: float | None = None,
    labels: str = "",
    column: str = "",
    limit: int = 0,
    examples: int = 6,
    sharpness: float = 0.1,
    kl: str = "0.1,0.02",
    rounds: int = 24,
    question_tokens: int = 48,
    ask_temperature: float = 1.0,
    max_tokens: int = 96,
    temperature: float = 1.0,
    repair: str = "",
    safe: str = "",
    lookalikes: str = "",
    demos: str = "",
    held_out: float = 0.5,
    wording: str = "auto",
    template: str = "",
    seed: int = 0,
    threads: int = 0,
    resume: bool = False,
    fault: str = "",
) -> Answer:
    """Attack a model with questions that other models write, or with a file of them, and count what a judge calls bad.

    `target`: the model under attack: a run folder, a model directory, town, town-s|m|l, or an endpoint (http://host/v1).
    `attacker`: a model that asks (the target itself may), or prepared attacks: a file (advbench, harmbench, any with a column of
    questions), or town:prompts?families=harm.   `judge`: what scores replies, higher is better: gold (on town), a reward model's
    directory or run, rule:file.py:function, regex:…, words:labels.tsv, http://….   `out`: the run folder.
    `how`: the last kind of attacker; those before it attack too: zero-shot, few-shot, supervised, rl.   `n`: attacks of each kind.
    `bad_below`: a reply that the judge gives less is bad; else .75 of gold, the mean of a reward model's training, .5 of others.
    `labels`: rows of attacks.jsonl with "bad": true or false added by hand; they appraise the judge and correct its rate.
    `column`: of a table, the column of the questions.   `limit`: only the first so many attacks of a file, 0 for all.
    `examples`, `sharpness`: of few-shot: how many, and the temperature T of exp(score / T).   `kl`: how strongly RL is pulled to the
    supervised attacker: an attacker each, joined by commas.   `rounds`: of RL, 64 questions each.   `question_tokens`: where questions
    are cut.   `ask_temperature`: of the attackers.   `max_tokens`, `temperature`: of the target's replies.
    `repair`: sft or dpo: train what was found away and attack again with questions that were held out.   `safe`: the reply that attacks
    should get: a text, or best (of eight of the target's own, by the judge); on town its own refusals.   `lookalikes`: harmless
    questions that look like attacks (a file as XSTest's, or a spec): how many are refused, before and after.   `demos`: demonstrations
    beside the safe replies, so that what looks like an attack is still answered.   `held_out`: the share not trained on.
    `wording`: english, or town for the shipped models; auto: town if the target is shipped or the judge gold.
    `template`: a chat template to force.   `seed`: of all noise.   `threads`: CPU threads, 0 leaves them as they are.
    `resume`: go on with the run that is in --out; no attack is made twice.   `fault`: kill the process at a fault point, to test that.
    """
    need("redteam", target=target, attacker=attacker, judge=judge, out=out)
    from plumbline.pipelines import sources
    from plumbline.pipelines.redteam import Attackers, AttackRecipes
    from plumbline.pipelines.redteam_mend import Mend
    from plumbline.pipelines.redteam_run import Given, run

    sources.use_threads(threads)
    given = Given(target, attacker, judge, bad_below, column, limit, wording, max_tokens, temperature, labels, template, seed)
    options = Attackers(how, n, examples, sharpness, kl, rounds, question_tokens, ask_temperature)
    mend = Mend(repair, safe, lookalikes, demos, held_out)
    return run(given, options, AttackRecipes(), mend, out=out, resume=resume, fault=fault)
