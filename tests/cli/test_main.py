from pathlib import Path

from lightning_landscape.__main__ import main

CONFIG = Path(__file__).parents[2] / "configs/perceptron/jammed.yaml"


def test_a_value_refused_by_a_callback_is_one_sentence(tmp_path, capsys):
    """The parser wraps the error of one class in a list; the sentence is still printed."""
    config = tmp_path / "config.yaml"
    config.write_text(CONFIG.read_text().replace("per_decade: 8", "gamma_window: [0.1, 0.01]"))
    assert main(["fit", "--config", str(config), "--trainer.logger.save_dir", str(tmp_path)]) == 2
    printed = capsys.readouterr().err.strip()
    assert printed.endswith("gamma_window = [0.1, 0.01]: must be [low, high] with 0 < low < high")
    assert "Traceback" not in printed


def test_an_interruption_is_one_sentence_without_traceback(monkeypatch, capsys):
    def interrupted(args):
        raise KeyboardInterrupt

    monkeypatch.setattr("lightning_landscape.cli.report.main", interrupted)
    assert main(["report", "logs"]) == 130
    assert capsys.readouterr().err == "interrupted; the same command resumes the run\n"
