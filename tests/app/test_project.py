"""A project: decisions with undo, images that join, commands, and folders that may be opened."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.support.noise_folder import write_noise

from headstart.app.drops import Drop
from headstart.app.findings import read_findings
from headstart.app.groups import RULES, groups_of
from headstart.app.project import Project, in_words
from headstart.app.workspace import Workspace
from headstart.data_quality.folder import check_images
from headstart.errors import ConfigError, DataError


@pytest.fixture
def project(tmp_path: Path) -> Project:
    photos = write_noise(tmp_path / "photos", {"cat": 3, "dog": 3})
    return Workspace(tmp_path / "advice", [tmp_path]).open(photos)


def kinds(project: Project) -> dict[str, str]:
    return {each.name: each.kind for each in project.decisions().values()}


def test_decisions_are_made_replaced_and_taken_back(project):
    first = project.image("cat/0.png")
    project.decide(first, "exclude")
    project.decide(first, "relabel", "dog")
    project.decide(project.image("dog/1.png"), "keep")
    assert kinds(project) == {"cat/0.png": "relabel", "dog/1.png": "keep"}
    assert project.undo() == "dog/1.png"
    assert project.undo() == "cat/0.png" and kinds(project) == {"cat/0.png": "exclude"}
    project.decide(first, None)
    assert kinds(project) == {}
    assert project.undo() == "cat/0.png" and kinds(project) == {"cat/0.png": "exclude"}
    assert project.undo() == "cat/0.png" and project.undo() is None and kinds(project) == {}


def test_what_was_decided_is_there_in_another_process(project, tmp_path):
    project.decide(project.image("cat/0.png"), "exclude")
    again = Workspace(tmp_path / "advice", [tmp_path]).project("photos")
    assert kinds(again) == {"cat/0.png": "exclude"} and again.can_undo


def test_two_apps_lose_no_decision_of_each_other(project):
    def decide(name: str) -> None:
        own = Project(project.folder)
        for image in own.listing().by_class[name]:
            own.decide(image, "exclude")
            own.decide(image, "keep")

    with ThreadPoolExecutor(2) as apps:
        list(apps.map(decide, ("cat", "dog")))
    assert len(project.decisions()) == 6
    assert sum(project.undo() is not None for _ in range(13)) == 12
    assert kinds(project) == {}


def test_a_name_with_a_carriage_return_is_decided_on(project, tmp_path):
    (tmp_path / "photos/cat/0.png").rename(tmp_path / "photos/cat/a\rb.png")
    project.decide(project.image("cat/a\rb.png"), "exclude")
    project.decide(project.image("cat/1.png"), "keep")
    assert kinds(project) == {"cat/a\rb.png": "exclude", "cat/1.png": "keep"}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_in_the_place_of_an_image_is_not_read(project, tmp_path):
    image, path = project.image("cat/0.png"), tmp_path / "photos/cat/0.png"
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(DataError, match="no regular file"):
        project.decide(image, "exclude")
    assert "cat/0.png" not in project.listing(again=True).by_name


def test_a_link_in_the_place_of_an_image_or_of_the_folder_is_not_followed(project, tmp_path):
    image, photos = project.image("cat/0.png"), tmp_path / "photos"
    other = write_noise(tmp_path / "other", {"cat": 1, "dog": 1})
    (photos / "cat/0.png").unlink()
    (photos / "cat/0.png").symlink_to(other / "cat/0.png")
    with pytest.raises(DataError, match="outside the opened folder"):
        project.decide(image, "exclude")
    photos.rename(tmp_path / "moved")
    photos.symlink_to(other)
    with pytest.raises(DataError, match="is a link now"):
        project.image("cat/0.png")


def test_a_label_that_can_name_no_class_is_refused(project):
    with pytest.raises(ConfigError, match="a class is named by"):
        project.decide(project.image("cat/0.png"), "relabel", "../x")


def test_images_that_come_are_listed_at_once(project, tmp_path):
    assert len(project.listing()) == 6
    write_noise(tmp_path / "photos", {"owl": 1})
    given = write_noise(tmp_path / "given", {"x": 1}, seed=1) / "x/0.png"
    with given.open("rb") as file:
        Drop(project.added).add("new.png", file, "bird")
    assert list(project.listing().by_class) == ["bird", "cat", "dog", "owl"]
    assert project.image("added/bird/new.png").label == "bird"
    with pytest.raises(DataError, match="no image of that name"):
        project.image("../photos/cat/0.png")


def test_images_that_come_deep_down_are_listed_at_once(tmp_path):
    photos = write_noise(tmp_path / "photos", {"cat/a/b": 2, "dog/a/b": 2})
    project = Workspace(tmp_path / "advice", [tmp_path]).open(photos)
    assert len(project.listing()) == 4
    write_noise(photos, {"cat/a/b/c": 1})
    assert len(project.listing()) == 5
    write_noise(photos, {"cat/a/b/c": 3})
    assert len(project.listing()) == 7


def test_a_project_with_damaged_settings_hides_no_other(project, tmp_path):
    (tmp_path / "advice/odd").mkdir()
    (tmp_path / "advice/odd/app.json").write_bytes(b"")
    workspace = Workspace(tmp_path / "advice", [tmp_path])
    assert [each.name for each in workspace.projects()] == ["photos"]
    (line,) = workspace.damaged()
    assert "odd/app.json is damaged" in line and "\n" not in line


def test_commands_are_those_of_a_terminal(project, tmp_path):
    assert in_words(project.check_command()) == (
        f"headstart data check {tmp_path}/photos --out {tmp_path}/advice/photos/check"
    )
    project.decide(project.image("cat/0.png"), "exclude")
    project.change(minutes=5, together=True, group_regex="^cat")
    assert project.check_command()[-4:] == [
        "--decisions",
        f"{tmp_path}/advice/photos/decisions.csv",
        "--group-regex",
        "^cat",
    ]
    assert in_words(project.advise_command()) == (
        f"headstart advise {tmp_path}/photos --minutes 5 --out {tmp_path}/advice/photos --group-regex '^cat'"
    )


def test_findings_are_pictures_with_their_decisions(project, tmp_path):
    (tmp_path / "photos/dog/copy.png").write_bytes((tmp_path / "photos/cat/0.png").read_bytes())
    (tmp_path / "photos/dog/broken.png").write_bytes(b"\x89PNG broken")
    assert read_findings(project) is None
    check_images(project.source, out=project.folder / "check", label_errors=False)
    check = read_findings(project)
    found = {
        kind.kind: [[each.image.name for each in one.images] for one in kind.findings] for kind in check.kinds
    }
    assert found["classes"] == [["cat/0.png", "dog/copy.png"]]
    assert found["unreadable"] == [["dog/broken.png"]]
    assert check.kinds[0].open == 1
    project.decide(project.image("dog/copy.png"), "exclude")  # both have this content
    assert read_findings(project).kinds[0].open == 0


def test_groups_are_those_of_the_rule(tmp_path):
    photos = write_noise(tmp_path / "photos", {"cat": 0})
    for name in ("rex_1", "rex_2", "rex_3", "tom_1", "alone"):
        (photos / f"cat/{name}.png").write_bytes(b"")
    project = Workspace(tmp_path / "advice", [tmp_path]).open(photos)
    groups = groups_of(project.listing(), RULES[0][0])
    assert (groups.groups, groups.images, groups.alone) == (3, 5, 2)
    assert groups.largest[0] == ("cat/rex", 3, ("cat/rex_1.png", "cat/rex_2.png", "cat/rex_3.png"))


@pytest.mark.parametrize("rule", ["(a+)+b", "(x*)*", "[", "", "a" * 400, "a{99999999999}"])
def test_a_rule_that_is_none_or_takes_for_ever_is_refused(project, rule):
    with pytest.raises(ConfigError, match=r"rule|regular expression"):
        groups_of(project.listing(), rule)


def test_only_folders_below_the_opened_ones_are_opened(tmp_path):
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    write_noise(inside / "photos", {"cat": 1})
    write_noise(outside / "photos", {"cat": 1})
    (inside / "link").symlink_to(outside / "photos")
    workspace = Workspace(tmp_path / "advice", [inside])
    for path in (outside / "photos", inside / "link", inside / "../outside/photos", Path("/etc")):
        with pytest.raises(ConfigError, match="lies outside the opened folders"):
            workspace.open(path)
    assert workspace.open(inside / "photos").name == "photos"
    with pytest.raises(ConfigError, match="is not there"):
        workspace.open(inside / "none")
    with pytest.raises(ConfigError, match="no images of that name"):
        workspace.project("../inside")


def test_other_images_of_the_same_name_are_refused(tmp_path):
    write_noise(tmp_path / "a/photos", {"cat": 1})
    write_noise(tmp_path / "b/photos", {"cat": 1})
    workspace = Workspace(tmp_path / "advice", [tmp_path])
    workspace.open(tmp_path / "a/photos")
    with pytest.raises(ConfigError, match="is of other images that are called photos, too"):
        workspace.open(tmp_path / "b/photos")


def test_a_folder_whose_name_is_no_text_is_refused_in_one_line(tmp_path):
    photos = write_noise(tmp_path / "f\udce9te", {"cat": 1})
    with pytest.raises(ConfigError, match=r"f\\xe9te has bytes that are no UTF-8; rename that folder"):
        Workspace(tmp_path / "advice", [tmp_path]).open(photos)


def test_the_folder_that_holds_what_the_app_keeps_is_not_opened_as_images(tmp_path):
    photos = write_noise(tmp_path / "photos", {"cat": 1})
    for home in (photos, tmp_path):
        with pytest.raises(ConfigError, match="name a folder elsewhere with --out"):
            Workspace(photos / "advice", [tmp_path]).open(home)
    assert not (photos / "advice").exists()


def test_opening_a_folder_again_writes_nothing(project, tmp_path):
    before = (project.folder / "app.json").stat()
    again = Workspace(tmp_path / "advice", [tmp_path]).open(tmp_path / "photos")
    assert again.folder == project.folder
    assert (project.folder / "app.json").stat() == before


def test_what_is_changed_alone_may_change_more(project):
    with project.alone():
        project.decide(project.image("cat/0.png"), "exclude")
        project.change(minutes=3)
    assert kinds(project) == {"cat/0.png": "exclude"} and project.settings.minutes == 3


def test_a_class_of_a_table_can_be_given_whatever_its_name(tmp_path):
    write_noise(tmp_path / "photos", {"cat": 2})
    table = tmp_path / "table.csv"
    table.write_text("path,label\nphotos/cat/0.png,Rosa/canina.\nphotos/cat/1.png,Homo sapiens\n")
    project = Workspace(tmp_path / "advice", [tmp_path]).open(table)
    image = project.image("photos/cat/1.png")
    project.decide(image, "relabel", "Rosa/canina.")
    assert [each.label for each in project.decisions().values()] == ["Rosa/canina."]
    for label in ("Rosa/", "", "../x"):
        with pytest.raises(ConfigError, match="a class is named by"):
            project.decide(image, "relabel", label)
