"""`grela fit`: one command that trains, goes on after any interruption, and says plainly what is wrong."""

import json
import signal

import pytest
import torch
from cli_cases import SETTINGS, command, fcntl, files

from fit_cases import fitted, log, saved_weights
from grela import Recommender
from grela.run_folder import read_facts


def fit(inputs, out, *more: object) -> list[object]:
    return ["fit", inputs / "log.csv", "--out", out, "--config", inputs / "settings.toml", *more]


def test_the_command_gives_the_facades_weights(fitted_run):
    expected = fitted().model.state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in saved_weights(fitted_run).items())
    assert Recommender.load(fitted_run).titles == fitted().titles


def test_without_a_terminal_it_tells_notices_and_the_result_alone(grela, inputs, tmp_path):
    done = grela(*fit(inputs, tmp_path / "run"))
    assert done.code == 0
    assert "ndcg@10" in done.out
    assert str(tmp_path / "run" / "report.html") in done.out
    assert "loss" not in done.err
    assert "\x1b" not in done.out + done.err
    assert "\r" not in done.out + done.err


def test_log_lines_tells_a_line_an_epoch(grela, inputs, tmp_path):
    done = grela(*fit(inputs, tmp_path / "run", "--log", "lines"))
    assert [line.split()[:2] for line in done.err.splitlines() if "loss" in line] == [
        ["epoch", "1"],
        ["epoch", "2"],
    ]


def test_log_json_is_json_on_every_line_and_the_result_comes_last(grela, inputs, tmp_path):
    done = grela(*fit(inputs, tmp_path / "run", "--log", "json"))
    lines = [json.loads(line) for line in done.out.splitlines()]
    kinds = [line["event"] for line in lines]
    assert set(kinds) == {"notice", "step", "epoch", "result"}
    assert kinds.count("result") == 1
    assert kinds.count("epoch") == 2
    result = lines[-1]
    assert result["event"] == "result"
    assert result["run"] == str(tmp_path / "run")
    evaluation = json.loads((tmp_path / "run" / "evaluation.json").read_text())
    assert {name: result[name] for name in evaluation} == evaluation
    assert done.err == ""


def test_options_win_over_the_config(grela, inputs, tmp_path):
    run = tmp_path / "run"
    options = ["--epochs", 1, "--seed", 7, "--form", "bidirectional", "--min-item-events", 2]
    assert grela(*fit(inputs, run, *options)).code == 0
    config = read_facts(run).config
    assert (config.training.epochs, config.training.seed) == (1, 7)
    assert (config.model.form, config.model.width) == ("bidirectional", 8)
    assert (config.preparation.min_item_events, config.preparation.min_user_events) == (2, 1)


def test_one_option_of_a_split_leaves_the_other_as_configured(grela, inputs, tmp_path):
    settings = tmp_path / "temporal.toml"
    start, day = 1_700_000_000, 86_400
    split = f'[split]\nkind = "temporal"\nvalid_from = {start + 9 * day}\ntest_from = {start + 10 * day}\n'
    settings.write_text(SETTINGS + split)
    run = tmp_path / "run"
    later = start + 11 * day
    done = grela("fit", inputs / "log.csv", "--out", run, "--config", settings, "--test-from", later)
    assert done.code == 0
    chosen = read_facts(run).config.split
    assert (chosen.kind, chosen.valid_from, chosen.test_from) == ("temporal", start + 9 * day, later)


def test_half_a_temporal_split_is_refused(grela, inputs, tmp_path):
    done = grela(*fit(inputs, tmp_path / "run", "--valid-from", "2024-01-01"))
    assert done.code == 1
    assert "needs both valid_from and test_from" in done.err


def test_columns_and_format_can_be_named(grela, inputs, tmp_path):
    path = tmp_path / "renamed.txt"
    log().rename({"user_id": "who", "item_id": "what", "timestamp": "when"}).write_csv(path)
    names = ["--user", "who", "--item", "what", "--time", "when", "--format", "csv"]
    run = tmp_path / "run"
    done = grela("fit", path, "--out", run, "--config", inputs / "settings.toml", *names)
    assert done.code == 0
    assert all(torch.equal(t, fitted().model.state_dict()[n]) for n, t in saved_weights(run).items())


def test_run_again_when_finished_it_says_so_and_changes_nothing(grela, inputs, fitted_run):
    before = files(fitted_run)
    done = grela(*fit(inputs, fitted_run))
    assert done.code == 0
    assert "already finished" in done.err
    assert "ndcg@10" in done.out
    assert files(fitted_run) == before


@pytest.mark.parametrize(
    ("more", "differs"),
    [
        (["--seed", 1], "training.seed was 0, not 1"),
        (["--epochs", 7], "training.epochs was 2, not 7"),
        (["--min-user-events", 2], "preparation.min_user_events was 1, not 2"),
    ],
)
def test_a_folder_of_another_run_is_refused(grela, inputs, fitted_run, more, differs):
    before = files(fitted_run)
    done = grela(*fit(inputs, fitted_run, *more))
    assert done.code == 1
    assert "holds a run with other settings" in done.err
    assert differs in done.err
    assert files(fitted_run) == before


def test_a_folder_of_other_data_is_refused(grela, inputs, fitted_run, tmp_path):
    log(seed=1).write_csv(tmp_path / "other.csv")
    done = grela("fit", tmp_path / "other.csv", "--out", fitted_run, "--config", inputs / "settings.toml")
    assert done.code == 1
    assert "its data or split has fingerprint" in done.err


def test_a_folder_with_strangers_files_is_refused_and_untouched(grela, inputs, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    before = files(tmp_path)
    done = grela(*fit(inputs, tmp_path))
    assert done.code == 1
    assert "thesis.tex" in done.err
    assert files(tmp_path) == before


def test_a_finished_run_without_its_evaluation_is_told_how_to_measure(grela, inputs, tmp_path):
    run = tmp_path / "run"
    assert grela(*fit(inputs, run)).code == 0
    (run / "evaluation.json").unlink()
    done = grela(*fit(inputs, run))
    assert done.code == 1
    assert f"`grela evaluate {run}` measures again" in done.err


HEAD = "user_id,item_id,timestamp\n"
BAD_LOGS = [
    ("", "empty"),
    (HEAD, "no rows"),
    ("user_id,item_id\n1,2\n", "time"),
    (HEAD + "1,2,3\n1,,4\n", "row 2|line 3"),
    (HEAD + "1,2,yesterday\n", "yesterday"),
    (HEAD + "1,2,3\n1,2\n", "line 3|row 2"),
    (HEAD + "".join(f"{user},5,{time}\n" for user in range(9) for time in range(9)), "one item"),
    (HEAD + "1,2,3\n1,3,4\n2,2,3\n", "no user can be tested"),
]


@pytest.mark.parametrize(("text", "message"), BAD_LOGS, ids=range(len(BAD_LOGS)))
def test_a_bad_log_ends_in_a_message_and_leaves_no_run(grela, tmp_path, text, message):
    (tmp_path / "log.csv").write_text(text)
    done = grela("fit", tmp_path / "log.csv", "--out", tmp_path / "run")
    assert done.code == 1
    assert done.out == ""
    assert done.err.startswith("grela: ")
    assert any(part in done.err for part in message.split("|")), done.err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("events", "message"),
    [
        ("no/such/log.csv", "no/such/log.csv"),
        ("ml-10k", "`grela data list` such as ml-1"),
        ("entirely-unheard-of", "neither a file nor a data set of the catalogue"),
        (".", "folder|directory"),
        ("", "neither|folder|directory"),
    ],
)
def test_events_that_are_nowhere_are_named(grela, tmp_path, events, message):
    done = grela("fit", events, "--out", tmp_path / "run")
    assert done.code == 1
    assert any(part in done.err for part in message.split("|")), done.err
    assert not (tmp_path / "run").exists()


def test_columns_of_a_catalogued_set_cannot_be_named(grela, tmp_path):
    done = grela("fit", "ml-100k", "--user", "who", "--out", tmp_path / "run")
    assert done.code == 2
    assert "leave out --user" in done.err


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("[model]\nwidht = 8", "unknown setting model.widht; expected one of"),
        ("[modell]\n", "unknown setting modell"),
        ('[training]\nepochs = "5"', "training.epochs is '5', expected int"),
        ("[training]\nepochs = true", "training.epochs is True, expected int"),
        ("[training]\nepochs = 0", "epochs is 0, expected at least 1"),
        ("[model]\nwidth = 7", "width 7 is not an even multiple"),
        ("model = 3", "expected a table"),
        ("[model", "not valid TOML"),
    ],
)
def test_a_bad_configuration_is_named_before_the_log_is_read(grela, inputs, tmp_path, settings, message):
    (tmp_path / "bad.toml").write_text(settings)
    done = grela("fit", inputs / "log.csv", "--out", tmp_path / "run", "--config", tmp_path / "bad.toml")
    assert done.code == 1
    assert "bad.toml" in done.err
    assert message in done.err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("more", "code", "message"),
    [
        (["--epochs", "0"], 1, "epochs is 0"),
        (["--epochs", "many"], 2, "--epochs"),
        (["--seed", "-1"], 1, "seed is -1"),
        (["--min-user-events", "0"], 1, "min_user_events is 0"),
        (["--threads", "0"], 2, "--threads"),
        (["--form", "sideways"], 2, "--form"),
        (["--recipe", "paper"], 2, "--config and --recipe both"),
        (["--titles", "nowhere.csv"], 1, "nowhere.csv"),
        (["--user", "nobody"], 1, "nobody"),
        (["--format", "xls"], 1, "xls"),
        (["--no-such-option"], 2, "--no-such-option"),
    ],
)
def test_bad_options_are_named(grela, inputs, tmp_path, more, code, message):
    done = grela(*fit(inputs, tmp_path / "run", *more))
    assert (done.code, done.out) == (code, "")
    assert message in done.err
    assert not (tmp_path / "run").exists()


def test_an_unknown_recipe_names_those_there_are(grela, inputs, tmp_path):
    done = grela("fit", inputs / "log.csv", "--out", tmp_path / "run", "--recipe", "cake")
    assert done.code == 1
    assert "expected one of" in done.err
    assert "paper" in done.err


def test_an_out_that_cannot_be_made_is_named(grela, inputs):
    done = grela(*fit(inputs, inputs / "log.csv" / "run"))
    assert done.code == 1
    assert "cannot make the run folder" in done.err


@pytest.mark.skipif(fcntl is None, reason="signals are of POSIX")
def test_killed_and_interrupted_the_same_command_ends_with_the_same_bits(grela, inputs, tmp_path):
    """kill -9 in the third epoch, an interrupt in the sixth; a checkpoint after each step."""
    settings, run = tmp_path / "long.toml", tmp_path / "run"
    long = SETTINGS.replace("epochs = 2", "epochs = 40\npatience = 0\ncheckpoint_seconds = 1e-9")
    settings.write_text(long)
    arguments = ["fit", inputs / "log.csv", "--config", settings, "--log", "json", "--threads", 1]

    def stop(epoch: int, how: signal.Signals) -> tuple[int, list[dict], str]:
        process = command(*arguments, "--out", run)
        if hasattr(fcntl, "F_SETPIPE_SZ"):
            # A pipe that is soon full keeps a fast process from finishing before a slow test reads what it said.
            fcntl.fcntl(process.stdout, fcntl.F_SETPIPE_SZ, 4096)
        seen = []
        for line in process.stdout:
            seen.append(json.loads(line))
            if seen[-1]["event"] == "step" and seen[-1]["epoch"] >= epoch:
                process.send_signal(how)
                break
        rest, err = process.communicate(timeout=120)
        assert '"result"' not in rest
        return process.returncode, seen, err

    code, _, _ = stop(3, signal.SIGKILL)
    assert code == -signal.SIGKILL
    assert not read_facts(run).finished
    code, seen, err = stop(6, signal.SIGINT)
    assert code == 130
    assert "interrupted: the same command goes on from the last checkpoint" in err
    assert "Traceback" not in err
    assert any("resumed after step" in line.get("message", "") for line in seen)
    assert min(line["epoch"] for line in seen if line["event"] == "step") >= 3
    assert not read_facts(run).finished

    done = grela(*arguments, "--out", run)
    assert done.code == 0
    assert "resumed after step" in done.out
    unbroken = tmp_path / "unbroken"
    assert grela(*arguments, "--out", unbroken).code == 0
    assert (run / "model.safetensors").read_bytes() == (unbroken / "model.safetensors").read_bytes()
    assert (run / "evaluation.json").read_bytes() == (unbroken / "evaluation.json").read_bytes()
    assert not list(run.glob("checkpoint*"))


def test_a_fit_starts_from_another_run(grela, fitted_run, inputs, tmp_path):
    out = tmp_path / "next"
    done = grela(
        "fit", inputs / "log.csv", "--from", fitted_run, "--epochs", 1, "--out", out, "--log", "lines"
    )
    assert done.code == 0
    assert "0 new events, 360 that it has already" in done.err + done.out
    said = json.loads((out / "run.json").read_text())
    assert said["parent"]["run"] == str(fitted_run)
    assert said["config"]["model"]["width"] == 8
    refused = grela("fit", inputs / "log.csv", "--from", tmp_path, "--out", tmp_path / "other")
    assert (refused.code, (tmp_path / "other").exists()) == (1, False)
    assert "is not a run folder" in refused.err
