"""`laneway infer` against a real HTTP server: what it sends of a file, and what it shows."""

import json

import pytest

from tests.unit.client.recording_server import Answer, json_answer


def metadata(*inputs):
    return json_answer(
        {
            "name": "m",
            "versions": ["1"],
            "platform": "onnx_onnxv1",
            "inputs": [{"name": n, "datatype": d, "shape": s} for n, d, s in inputs],
            "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 3]}],
        }
    )


ANSWER = {
    "model_name": "m",
    "model_version": "7",
    "outputs": [{"name": "y", "shape": [1, 3], "datatype": "FP32", "data": [0.25, 0.5, 0.1]}],
}


@pytest.fixture
def infer(laneway, server):
    """Runs `laneway infer m` against a server whose model takes one FP32 input."""
    server.on("/v2/models/m", metadata(("x", "FP32", [-1, 2])))
    server.will_answer(json_answer(ANSWER))

    def run(*args, stdin=None):
        return laneway("infer", "m", "--endpoint", server.endpoint, *args, stdin=stdin)

    return run


def sent(server):
    return next(call for call in server.received if call.method == "POST")


def test_a_protocol_request_goes_out_byte_for_byte(infer, server, tmp_path):
    request = b'{"id": "a",  "inputs": [{"name":"x","shape":[1,2],"datatype":"FP32","data":[1,2]}]}'
    (tmp_path / "request.json").write_bytes(request)

    result = infer("--input", "request.json")

    assert result.exit_code == 0, result.output
    assert sent(server).body == request
    assert [call.method for call in server.received] == ["POST"]


def test_the_request_of_a_golden_file_is_sent(infer, server, tmp_path):
    request = {"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}]}
    golden = {"request": request, "expected": {}, "tolerance": {}}
    (tmp_path / "golden.json").write_text(json.dumps(golden))

    result = infer("--input", "golden.json")

    assert result.exit_code == 0, result.output
    assert json.loads(sent(server).body) == request


def test_named_values_take_datatype_from_the_model_and_shape_from_the_nesting(infer, server):
    result = infer("--input", "-", stdin='{"x": [[1, 2], [3, 4]]}')

    assert result.exit_code == 0, result.output
    assert json.loads(sent(server).body)["inputs"] == [
        {"name": "x", "shape": [2, 2], "datatype": "FP32", "data": [1, 2, 3, 4]}
    ]


def test_bare_values_are_the_only_input_of_a_model(infer, server):
    infer("--input", "-", stdin="[[1, 2]]")

    assert json.loads(sent(server).body)["inputs"][0]["name"] == "x"


@pytest.mark.parametrize(("shape", "given"), [([-1], [2]), ([-1, 1], [2, 1])])
def test_lines_of_text_are_elements_in_the_rank_that_the_model_wants(infer, server, shape, given):
    server.on("/v2/models/m", metadata(("text", "BYTES", shape)))

    result = infer("--text", "--input", "-", stdin="first\nzweite Zeile ü\n")

    assert result.exit_code == 0, result.output
    (tensor,) = json.loads(sent(server).body)["inputs"]
    assert tensor["shape"] == given
    assert tensor["data"] == ["first", "zweite Zeile ü"]


def test_a_file_of_bytes_travels_packed_as_one_element(infer, server, tmp_path):
    server.on("/v2/models/m", metadata(("image", "BYTES", [-1])))
    (tmp_path / "cat.jpg").write_bytes(b"\xff\xd8\xff\xe0")

    result = infer("--file", "cat.jpg")

    assert result.exit_code == 0, result.output
    assert sent(server).body.endswith(b"\x04\x00\x00\x00\xff\xd8\xff\xe0")
    assert "parameters" not in sent(server).header_json()


def test_binary_packs_values_and_asks_for_binary_answers(infer, server):
    infer("--binary", "--input", "-", stdin="[[1, 2]]")

    header = sent(server).header_json()
    assert header["inputs"][0]["parameters"] == {"binary_data_size": 8}
    assert header["parameters"] == {"binary_data_output": True}


def test_a_version_is_asked_for_by_path(infer, server):
    server.on("/v2/models/m/versions/2", metadata(("x", "FP32", [-1, 2])))

    infer("--version", "2", "--input", "-", stdin="[[1, 2]]")

    assert sent(server).path == "/v2/models/m/versions/2/infer"


def test_the_answer_is_shown_as_a_table_on_stdout(infer):
    result = infer("--input", "-", stdin="[[1, 2]]")

    assert "version 7" in result.stderr
    assert "[[0.25, 0.5, 0.1]]" in result.stdout
    assert "[1, 3]" in result.stdout


def test_a_large_answer_shows_its_shape_and_first_values(infer, server):
    server._queue.clear()
    output = {"name": "e", "shape": [1, 384], "datatype": "FP32", "data": list(range(384))}
    server.will_answer(json_answer({"model_name": "m", "outputs": [output]}))

    result = infer("--input", "-", stdin="[[1, 2]]")

    assert "[1, 384]" in result.stdout
    assert "(384 values)" in result.stdout
    assert "300" not in result.stdout


def test_json_prints_the_answer_as_it_came(infer):
    result = infer("--json", "--input", "-", stdin="[[1, 2]]")

    assert json.loads(result.stdout) == ANSWER


def test_output_writes_the_answers_bytes_to_a_file(infer, server, tmp_path):
    server._queue.clear()
    server.will_answer(Answer(200, b'{"outputs": []}'))

    result = infer("--output", "answer.bin", "--input", "-", stdin="[[1, 2]]")

    assert (tmp_path / "answer.bin").read_bytes() == b'{"outputs": []}'
    assert "answer.bin" in result.stderr


@pytest.mark.parametrize(
    ("stdin", "words"),
    [
        ('{"x": [[1, 2], [3]]}', "ragged"),
        ('{"z": [[1, 2]]}', "unknown ['z'], missing ['x']"),
    ],
)
def test_input_that_does_not_fit_is_told_with_the_models_signature(infer, server, stdin, words):
    result = infer("--input", "-", stdin=stdin)

    assert result.exit_code == 1
    assert words in result.stderr
    assert "x: FP32 [-1, 2]" in result.stderr
    assert [call.method for call in server.received if call.method == "POST"] == []


def test_a_refusal_of_the_service_is_told_with_the_models_signature(infer, server):
    server._queue.clear()
    refusal = {"error": "input 'x' has rank 1", "code": "signature_mismatch", "request_id": "r-9"}
    server.will_answer(json_answer(refusal, 400))

    result = infer("--input", "-", stdin="[1, 2]")

    assert result.exit_code == 1
    assert "input 'x' has rank 1" in result.stderr
    assert "r-9" in result.stderr
    assert "x: FP32 [-1, 2]" in result.stderr


def test_text_for_a_model_that_takes_numbers_is_refused(infer):
    result = infer("--text", "--input", "-", stdin="hello\n")

    assert result.exit_code == 1
    assert "does not take text" in result.stderr


def test_an_image_under_input_is_pointed_to_the_file_option(infer, tmp_path):
    (tmp_path / "cat.jpg").write_bytes(b"\xff\xd8\xff\xe0")

    result = infer("--input", "cat.jpg")

    assert result.exit_code == 1
    assert "--file" in result.stderr


@pytest.mark.parametrize(
    "args",
    [
        (),
        ("--input", "-", "--file", "x"),
        ("--input", "no-such-file.json"),
        ("--input", "-", "--json", "--binary"),
        ("--file", "x", "--text"),
    ],
)
def test_wrong_usage_is_exit_code_2_and_sends_nothing(infer, server, args):
    result = infer(*args)

    assert result.exit_code == 2
    assert server.received == []


def test_a_key_is_sent_and_never_shown(infer, server, monkeypatch):
    monkeypatch.setenv("LANEWAY_API_KEY", "lw_canary")
    server._queue.clear()
    server.will_answer(json_answer({"message": "Forbidden"}, 403))

    result = infer("--input", "-", stdin='{"inputs": [{"name": "x"}]}')

    assert result.exit_code == 1
    assert sent(server).headers["x-api-key"] == "lw_canary"
    assert "lw_canary" not in result.output
