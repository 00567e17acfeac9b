"""What the page on networks says works, as it stands there."""

from tests.docs.pages import code_of


def test_the_network_of_the_page_on_networks_goes_from_its_class_to_a_run(fobench, tmp_path):
    """By the page's commands, on generated images."""
    (code,) = code_of("docs/networks.md")
    (tmp_path / "mynet.py").write_text(code)
    words = ["--model", "./mynet.py:Net", "--data", "synthetic16", "-o", "mine.toml"]
    assert fobench("init", *words).exit_code == 0
    table = fobench("units", "mine.toml")
    assert table.exit_code == 0, table.output
    names = [line.split()[1] for line in table.stdout.splitlines()[2:8]]
    assert names == ["stem_0", "blocks_0", "blocks_1", "blocks_2", "blocks_3", "head"]
    fewer = ["--set", "data.train_size=64", "--set", "data.test_size=20", "--set", "train.epochs=2"]
    fewer += ["--set", "data.validation=0", "--set", "experiment.seeds=0", "--only", "t0.50_"]
    ran = fobench("run", "mine.toml", *fewer, "--untimed", "--device", "cpu")
    assert ran.exit_code == 0, ran.output
