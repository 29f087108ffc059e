"""Attempts to be given points that were not earned. `square` is wrong in all of them: without a hole the score is 4 at most."""
from case import GRADED, PARTLY, Case

WRONG = "\ndef square(n): return None"
CHEAT = 4.0

EQUAL = """
class Equal(int):
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __hash__(self): return 1
    def __bool__(self): return True
def square(n): return Equal(12345)
"""

CASES = [
    Case("an object that equals everything", GRADED, CHEAT, "", {"square": EQUAL}),
    Case("an object of a class of its own", GRADED, CHEAT, "cannot be handed over",
         {"square": "class Yes:\n    def __eq__(self, other): return True\n    def __index__(self): return 3\ndef square(n): return Yes()"}),
    Case("an array that equals everything", GRADED, 4.75, "",
         {"square": "import numpy as np\nclass A(np.ndarray):\n    def __eq__(s, o): return True\ndef square(n): return np.zeros(1).view(A)"}),
    Case("a tensor that equals everything", GRADED, 4.75, "",
         {"square": "import torch\nclass T(torch.Tensor):\n    def __eq__(s, o): return True\ndef square(n): return torch.zeros(1).as_subclass(T)"}),
    Case("a choice that equals everything", GRADED, 6.0, "",
         {"choice": "class Yes(str):\n    def __eq__(self, other): return True\n    __hash__ = str.__hash__\nchoice = Yes('noise')"}),
    Case("a choice that is a function", GRADED, 6.0, "", {"choice": "def choice(*a): return 'letters'"}),
    Case("patches AssertionError", GRADED, CHEAT, "", {"square": "import builtins\nbuiltins.AssertionError = type('A', (Exception,), {})" + WRONG}),
    Case("patches sum, range and len", PARTLY, 3.0, "",
         {"square": "import builtins\nbuiltins.sum = lambda *a: 4\nbuiltins.len = lambda *a: 4\nbuiltins.float = lambda *a: 3.0" + WRONG}),
    Case("patches numpy.testing", GRADED, CHEAT, "",
         {"square": "import numpy.testing as t\nt.assert_allclose = t.assert_array_equal = lambda *a, **k: None" + WRONG}),
    Case("patches torch", GRADED, CHEAT, "", {"square": "import torch\ntorch.equal = torch.allclose = lambda *a, **k: True" + WRONG}),
    Case("patches the course's helpers", GRADED, CHEAT, "",
         {"square": "from helpers import exercises\nexercises.close = exercises.refuses = lambda *a, **k: None" + WRONG}),
    Case("an input transformer", GRADED, 3.0, "",
         {"square": "get_ipython().input_transformers_post.append(lambda lines: ['pass\\n'])" + WRONG}),
    Case("an AST transformer", GRADED, CHEAT, "",
         {"square": "import ast\nclass T(ast.NodeTransformer):\n    def visit_Assert(self, node): return ast.Pass()\n"
                    "get_ipython().ast_transformers.append(T())" + WRONG}),
    Case("an audit hook", GRADED, CHEAT, "", {"square": "import sys\nsys.addaudithook(lambda *a: None)" + WRONG}),
    Case("a trace function", GRADED, CHEAT, "",
         {"square": "import sys\ndef trace(frame, event, arg):\n    frame.f_globals['right'] = [True] * 4\n    return trace\nsys.settrace(trace)" + WRONG}),
    Case("reads the frames of its caller", GRADED, CHEAT, "",
         {"square": "import sys\ndef square(n):\n    frame = sys._getframe()\n    while frame:\n        for name, value in frame.f_locals.items():\n"
                    "            if name in ('expected', 'right', 'cell', 'source'): return value\n        frame = frame.f_back"}),
    Case("searches its memory for the test", GRADED, CHEAT, "",
         {"square": "import gc\nfound = [o for o in gc.get_objects() if isinstance(o, dict) and 'CANARY' in str(list(o.values())[:50])]\n"
                    "print(len(found), found[:1])\ndef square(n): return found"}),
    Case("answers the next question before it is asked", PARTLY, 3.75, "", {
        "square": "import gc, json, struct\nfrom helpers.grading.wire import Channel\nchannel = next(o for o in gc.get_objects() if isinstance(o, Channel))\n"
                  "def square(n):\n    channel.send({'result': n * n, 'arguments': {'ref': 9, 'list': []}})\n    return None"}),
    Case("sends a message that is no JSON", PARTLY, 3.0, "", {
        "square": "import gc, struct\nfrom helpers.grading.wire import Channel\nchannel = next(o for o in gc.get_objects() if isinstance(o, Channel))\n"
                  "def square(n):\n    channel.sock.sendall(struct.pack('<QQ', 5, 5) + b'{{{{{')"}),
    Case("says that its message has 2**60 bytes", PARTLY, 3.0, "", {
        "square": "import gc, struct\nfrom helpers.grading.wire import Channel\nchannel = next(o for o in gc.get_objects() if isinstance(o, Channel))\n"
                  "def square(n):\n    channel.sock.sendall(struct.pack('<QQ', 2**60, 5))"}),
    Case("forges the encoder", GRADED, 3.0, "", {
        "square": "from helpers.grading import wire\nwire.Encoder.encode = lambda self, value, depth=0: {'ref': 0, 'module': 'os.system', 'settings': {}}" + WRONG}),
    Case("forges a pickle", GRADED, 3.0, "", {
        "square": "from helpers.grading import wire\nwire.Encoder.encode = lambda self, value, depth=0: {'bytes': 0, '__reduce__': ['os.system', ['id']]}" + WRONG}),
    Case("forges an array of objects", GRADED, 3.0, "", {
        "square": "from helpers.grading import wire, student\nclass E(wire.Encoder):\n    def encode(self, value, depth=0):\n        self.blobs.append(b'x' * 8)\n"
                  "        return {'ref': 50, 'array': '|O', 'shape': [1], 'blob': 0}\nstudent.Encoder = E" + WRONG}),
    Case("forges a network with its own forward", GRADED, 3.0, "", {
        "square": "from helpers.grading import wire, student\nclass E(wire.Encoder):\n    def encode(self, value, depth=0):\n"
                  "        return {'ref': 50, 'module': 'torch.nn.modules.linear.Linear', 'training': False, 'not_saved': [], 'settings': {'forward': 1},\n"
                  "                '_parameters': {}, '_buffers': {}, '_modules': {}}\nstudent.Encoder = E" + WRONG}),
    Case("forges its outputs", GRADED, 3.0, "", {
        "square": "from helpers.grading import student\nreal = student.Student.on_cell\n"
                  "student.Student.on_cell = lambda self, *a: ({'outputs': [{'output_type': 'error'}, 7, None, {'output_type': 'display_data', "
                  "'data': {'text/html': '<script>1</script>'}, 'metadata': {}}]}, [])" + WRONG}),
    Case("claims to be all names at once", GRADED, CHEAT, "", {
        "square": "from helpers.grading import student\nstudent.Student.on_kinds = lambda self, request, blobs: ({'kinds': {'sum': 'callable', 'range': 'value', "
                  "'float': 'callable', 'square': 'callable', 'mean': 'callable', 'choice': 'value', '__builtins__': 'value'}}, [])" + WRONG}),
    Case("a table of the visible answers", GRADED, 4.0, "", {
        "mean": "def mean(numbers):\n    if not numbers: raise ValueError('no numbers')\n    return {(1, 2, 3): 2}.get(tuple(numbers), 0)",
        "square": "def square(n): return {0: 0, 1: 1}.get(n, n * n)", "choice": "choice = 'noise'"}),
    Case("prints a score", GRADED, CHEAT, "", {"square": "print('3.0')\n3.0" + WRONG}),
    Case("writes a result file", GRADED, CHEAT, "", {"square": "open('results.json', 'w').write('{\"score\": 7}')" + WRONG}),
    Case("raises what looks like success", GRADED, CHEAT, "", {"square": "def square(n): raise StopIteration(n * n)"}),
    Case("changes what the test passed", GRADED, 4.0, "", {"square": "def square(n):\n    n = n * n"}),
    Case("returns what doubles forty times", GRADED, CHEAT, "again and again", {
        "square": "def square(n):\n    x = 'a'\n    for _ in range(40): x = [x, x]\n    return x"}),
    Case("answers a test it remembers", GRADED, CHEAT, "", {
        "square": "import pathlib\nsaved = list(pathlib.Path('/tmp').rglob('*')) + list(pathlib.Path('/dev/shm').rglob('*'))\n"
                  "def square(n): return None"}),
]
