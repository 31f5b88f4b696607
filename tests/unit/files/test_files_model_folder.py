from pathlib import Path

from megalite.files.model_folder import model_folder_of


def hf(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    return folder


def test_folders_names_and_missing_paths_stay_as_given(tmp_path: Path) -> None:
    assert model_folder_of(str(hf(tmp_path / "model"))) == str(tmp_path / "model")
    assert model_folder_of("owner/name") == "owner/name"
    assert model_folder_of(str(tmp_path / "none")) == str(tmp_path / "none")
    assert model_folder_of(str(tmp_path)) == str(tmp_path)


def test_a_run_and_a_checkpoint_mean_the_model_in_them(tmp_path: Path) -> None:
    run = tmp_path / "run"
    hf(run / "step-000900/hf")
    newest = hf(run / "step-1000000/hf")
    (run / "step-2000000.partial").mkdir()
    (run / "step-3000000").mkdir()  # without a model in it
    assert model_folder_of(str(run)) == str(newest)
    assert model_folder_of(str(run / "step-000900")) == str(run / "step-000900/hf")


def test_a_fine_tuned_run_means_its_export(tmp_path: Path) -> None:
    assert model_folder_of(str(hf(tmp_path / "tuned/hf").parent)) == str(tmp_path / "tuned/hf")
