"""What strangers send: tables of cases for hostile_test.py. Each says what is sent, the status that is wanted and words that
the message must hold: the field or thing, and the reason."""
import copy, json, re

# --- HTTP itself: (name, bytes, status or 0 for a mere end, words). H is a good Host line.

H = b'Host: x\r\n'
GET = b'GET /api/v1/namespaces/bad/configmaps HTTP/1.1\r\n'
POST = b'POST /api/v1/namespaces/bad/configmaps HTTP/1.1\r\nContent-Type: application/json\r\n'
BODY = b'{"metadata":{"name":"smuggled"}}'
NEXT = b'GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n'


def chunks(*parts):
    return b''.join(b'%x\r\n%s\r\n' % (len(p), p) for p in parts) + b'0\r\n\r\n'


RAW = [
    ('no version', b'GET /api\r\n\r\n', 400, 'request line'),
    ('three spaces', b'GET  /api HTTP/1.1\r\n' + H + b'\r\n', 400, 'request line'),
    ('tabs for spaces', b'GET\t/api\tHTTP/1.1\r\n' + H + b'\r\n', 400, 'request line'),
    ('HTTP/0.9', b'GET /\r\n', 0, ''),
    ('HTTP/1.2', b'GET /api HTTP/1.2\r\n' + H + b'\r\n', 505, 'HTTP/1.1'),
    ('HTTP/2 without a handshake', b'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', (400, 505), ''),
    ('HTTP/9.9', b'GET /api HTTP/9.9\r\n' + H + b'\r\n', 505, 'HTTP/1.1'),
    ('lower-case version', b'GET /api http/1.1\r\n' + H + b'\r\n', 400, 'request line'),
    ('a method of marks', b'G@T /api HTTP/1.1\r\n' + H + b'\r\n', 400, 'request line'),
    ('a method too long', b'G' * 100 + b' /api HTTP/1.1\r\n' + H + b'\r\n', 400, 'request line'),
    ('CONNECT', b'CONNECT example.com:443 HTTP/1.1\r\n' + H + b'\r\n', 501, 'target'),
    ('TRACE', b'TRACE /api/v1/pods HTTP/1.1\r\n' + H + b'Connection: close\r\n\r\n', 405, ''),
    ('a target without slash', b'GET api HTTP/1.1\r\n' + H + b'\r\n', 400, 'target'),
    ('a target of another scheme', b'GET gopher://x/ HTTP/1.1\r\n' + H + b'\r\n', 400, 'target'),
    ('NUL in the target', b'GET /api\0x HTTP/1.1\r\n' + H + b'\r\n', 400, 'request line'),
    ('raw UTF-8 in the target', 'GET /api/é HTTP/1.1\r\n'.encode() + H + b'\r\n', 400, 'request line'),
    ('a bad escape', b'GET /api/v1/namespaces/%zz HTTP/1.1\r\n' + H + b'Connection: close\r\n\r\n', 400, 'escape'),
    ('an escaped NUL', b'GET /api/v1/namespaces/a%00b HTTP/1.1\r\n' + H + b'Connection: close\r\n\r\n', 400, 'escape'),
    ('half an escape', b'GET /api/v1/namespaces/a%4 HTTP/1.1\r\n' + H + b'Connection: close\r\n\r\n', 400, 'escape'),
    ('a target of 50,000 bytes', b'GET /' + b'a' * 50000 + b' HTTP/1.1\r\n' + H + b'\r\n', 414, 'too long'),
    ('a target without end', b'GET /' + b'a' * 100000, 414, 'too long'),
    ('bare LF everywhere', b'GET /healthz HTTP/1.1\nHost: x\n\n', 400, 'CRLF'),
    ('bare LF after a field', b'GET /healthz HTTP/1.1\r\nHost: x\nX: y\r\n\r\n', 400, 'CRLF'),
    ('bare CR in a field', b'GET /healthz HTTP/1.1\r\nHost: x\r\nX: a\rb\r\n\r\n', 400, 'CRLF'),
    ('a folded line', b'GET /healthz HTTP/1.1\r\nHost: x\r\nX: a\r\n b\r\n\r\n', 400, 'folded'),
    ('a folded line by tab', b'GET /healthz HTTP/1.1\r\nHost: x\r\nX: a\r\n\tb\r\n\r\n', 400, 'folded'),
    ('a space before the first field', b'GET /healthz HTTP/1.1\r\n Host: x\r\n\r\n', 400, 'folded'),
    ('a space before the colon', b'GET /healthz HTTP/1.1\r\nHost : x\r\n\r\n', 400, 'header line'),
    ('a field without colon', b'GET /healthz HTTP/1.1\r\nHost: x\r\nnonsense\r\n\r\n', 400, 'header line'),
    ('a field without name', b'GET /healthz HTTP/1.1\r\nHost: x\r\n: v\r\n\r\n', 400, 'header line'),
    ('NUL in a field', b'GET /healthz HTTP/1.1\r\nHost: x\r\nX: a\0b\r\n\r\n', 400, 'header line'),
    ('no Host', b'GET /healthz HTTP/1.1\r\n\r\n', 400, 'Host'),
    ('two Hosts', b'GET /healthz HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n', 400, 'Host'),
    ('a Host that is a path', b'GET /healthz HTTP/1.1\r\nHost: x/../y\r\n\r\n', 400, 'Host'),
    ('200 fields', b'GET /healthz HTTP/1.1\r\n' + H + b'X: y\r\n' * 200 + b'\r\n', 431, 'header fields'),
    ('a header of 70,000 bytes', b'GET /healthz HTTP/1.1\r\n' + H + b'X: ' + b'y' * 70000 + b'\r\n\r\n', 431, 'too large'),
    ('a header without end', b'GET /healthz HTTP/1.1\r\n' + H + b'X: ' + b'y' * 200000, 431, 'too large'),
    ('CL and TE', POST + H + b'Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n' + chunks(BODY) + NEXT, 400, 'both'),
    ('TE and CL', POST + H + b'Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n' + chunks(BODY) + NEXT, 400, 'both'),
    ('two lengths', POST + H + b'Content-Length: 0\r\nContent-Length: 32\r\n\r\n' + BODY + NEXT, 400, 'Content-Length'),
    ('a list of lengths', POST + H + b'Content-Length: 32, 32\r\n\r\n' + BODY + NEXT, 400, 'Content-Length'),
    ('a length with a plus', POST + H + b'Content-Length: +32\r\n\r\n' + BODY + NEXT, 400, 'Content-Length'),
    ('a length in hex', POST + H + b'Content-Length: 0x20\r\n\r\n' + BODY + NEXT, 400, 'Content-Length'),
    ('a negative length', POST + H + b'Content-Length: -1\r\n\r\n' + BODY + NEXT, 400, 'Content-Length'),
    ('a length of 2^64', POST + H + b'Content-Length: 18446744073709551616\r\n\r\n' + NEXT, 400, 'Content-Length'),
    ('an empty length', POST + H + b'Content-Length:\r\n\r\n' + BODY + NEXT, 400, 'Content-Length'),
    ('a length over the limit', POST + H + b'Content-Length: 999999999999\r\n\r\n' + NEXT, 413, '3145728'),
    ('TE gzip', POST + H + b'Transfer-Encoding: gzip\r\n\r\n' + NEXT, 501, 'chunked'),
    ('TE gzip, chunked', POST + H + b'Transfer-Encoding: gzip, chunked\r\n\r\n' + chunks(BODY) + NEXT, 501, 'chunked'),
    ('TE chunked, identity', POST + H + b'Transfer-Encoding: chunked, identity\r\n\r\n' + NEXT, 501, 'chunked'),
    ('TE with a vertical tab', POST + H + b'Transfer-Encoding: \x0bchunked\r\n\r\n' + NEXT, 400, 'header line'),
    ('TE xchunked', POST + H + b'Transfer-Encoding: xchunked\r\n\r\n' + NEXT, 501, 'chunked'),
    ('two TEs', POST + H + b'Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n' + NEXT, 400, 'Transfer-Encoding'),
    ('TE in HTTP/1.0', POST.replace(b'1.1', b'1.0') + H + b'Transfer-Encoding: chunked\r\n\r\n' + chunks(BODY), 400, 'HTTP/1.0'),
    ('a chunk size of words', POST + H + b'Transfer-Encoding: chunked\r\n\r\nxyz\r\n' + NEXT, 400, 'chunk'),
    ('a chunk size with 0x', POST + H + b'Transfer-Encoding: chunked\r\n\r\n0x20\r\n' + BODY + b'\r\n0\r\n\r\n', 400, 'chunk'),
    ('a negative chunk', POST + H + b'Transfer-Encoding: chunked\r\n\r\n-1\r\n' + NEXT, 400, 'chunk'),
    ('a chunk size of 17 digits', POST + H + b'Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n' + NEXT, 400, 'chunk'),
    ('a chunk that is longer', POST + H + b'Transfer-Encoding: chunked\r\n\r\n2\r\n{}}\r\n0\r\n\r\n', 400, 'chunk'),
    ('a chunk ended by LF', POST + H + b'Transfer-Encoding: chunked\r\n\r\n2\n{}\n0\n\n', 400, 'chunk'),
    ('an extension without end', POST + H + b'Transfer-Encoding: chunked\r\n\r\n2;' + b'a' * 1000, 400, 'chunk'),
    ('trailers without end', POST + H + b'Transfer-Encoding: chunked\r\n\r\n0\r\n' + b'a: b\r\n' * 5000, 400, 'trailer'),
    ('a trailer without colon', POST + H + b'Transfer-Encoding: chunked\r\n\r\n0\r\nab\r\n\r\n', 400, 'trailer'),
    ('chunks over the limit', POST + H + b'Transfer-Encoding: chunked\r\n\r\n' + b'100000\r\n%s\r\n' % (b' ' * 0x100000) * 4, 413, '3145728'),
    ('an expectation nobody knows', POST + H + b'Expect: magic\r\nContent-Length: 2\r\n\r\n{}', 417, '100-continue'),
    ('garbage', bytes(range(256)) * 4, 400, ''),
    ('a body half sent', POST + H + b'Content-Length: 100\r\n\r\n{"a":', 0, ''),
    ('WebSocket without key', GET + H + b'Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n', 200, ''),
]

# --- requests: (name, method, path, body, status, words[, content type[, headers]])

CM = '/api/v1/namespaces/bad/configmaps'
DEEP = 12000


def nested(n, kind='['):
    return (b'[' * n + b']' * n) if kind == '[' else b'{"a":' * n + b'1' + b'}' * n


def cm(**more):
    return dict({'apiVersion': 'v1', 'kind': 'ConfigMap', 'metadata': {'name': 'x'}}, **more)


def pb(number, data):
    return bytes([number << 3 | 2, len(data)]) + data


APPLY = 'application/apply-patch+yaml'
JSONPATCH, MERGE, STRATEGIC = ('application/%s+json' % k for k in ('json-patch', 'merge-patch', 'strategic-merge-patch'))
PROTO = 'application/vnd.kubernetes.protobuf'
YAML = 'application/yaml'
KEPT = '/api/v1/namespaces/bad/configmaps/kept'
REQUESTS = [
    ('an empty body', 'POST', CM, b'', 400, ''),
    ('null', 'POST', CM, b'null', (400, 422), ''),
    ('a number', 'POST', CM, b'5', 400, 'json'),
    ('a list', 'POST', CM, b'[]', 400, 'json'),
    ('a string', 'POST', CM, b'"x"', 400, 'json'),
    ('half an object', 'POST', CM, b'{"metadata":{"name":"x"}', 400, 'unexpected end'),
    ('two objects', 'POST', CM, b'{"metadata":{"name":"x"}}{}', 400, 'after top-level'),
    ('single quotes', 'POST', CM, b"{'metadata':{}}", 400, 'invalid character'),
    ('a trailing comma', 'POST', CM, b'{"metadata":{"name":"x"},}', 400, 'invalid character'),
    ('a comment', 'POST', CM, b'{/* */}', 400, 'invalid character'),
    ('NaN', 'POST', CM, b'{"data":NaN}', 400, 'invalid character'),
    ('a control character in a string', 'POST', CM, b'{"metadata":{"name":"x\x01"}}', 400, 'invalid character'),
    ('an open string', 'POST', CM, b'{"metadata":{"name":"x', 400, 'unexpected end'),
    ('a bad escape', 'POST', CM, b'{"metadata":{"name":"\\q"}}', 400, 'escape'),
    ('a bad \\u', 'POST', CM, b'{"metadata":{"name":"\\u12"}}', 400, ''),
    ('lists 12,000 deep', 'POST', CM, nested(DEEP), 400, ''),
    ('maps 12,000 deep', 'POST', CM, nested(DEEP, '{'), 400, ''),
    ('data 12,000 deep', 'POST', CM, b'{"metadata":{"name":"x"},"data":' + nested(DEEP) + b'}', 400, ''),
    ('2 MB of brackets', 'POST', CM, b'[' * 2000000, 413, ''),
    ('a body over 3 MiB', 'POST', CM, b'{"data":{"a":"%s"}}' % (b'x' * 3200000), 413, '3145728'),
    ('data over 1 MiB', 'POST', CM, cm(data={'a': 'x' * 1100000}), 422, 'Too long'),
    ('a BOM of UTF-16', 'POST', CM, '{"metadata":{"name":"x"}}'.encode('utf-16'), 400, ''),
    ('latin-1 in a name', 'POST', CM, b'{"metadata":{"name":"\xe9"}}', (400, 422), ''),
    ('half a surrogate in a name', 'POST', CM, b'{"metadata":{"name":"\\ud800"}}', (400, 422), ''),
    ('overlong UTF-8 in a key', 'POST', CM, b'{"metadata":{"name":"x"},"data":{"\xc0\xae\xc0\xae":"x"}}', (400, 422), ''),
    ('another kind', 'POST', CM, {'apiVersion': 'v1', 'kind': 'Secret', 'metadata': {'name': 'x'}}, 400, 'Secret'),
    ('another version', 'POST', CM, {'apiVersion': 'v2', 'kind': 'ConfigMap', 'metadata': {'name': 'x'}}, 400, 'v2'),
    ('another group', 'POST', CM, {'apiVersion': 'apps/v1', 'kind': 'ConfigMap', 'metadata': {'name': 'x'}}, 400, 'apps/v1'),
    ('kind is a number', 'POST', CM, {'apiVersion': 'v1', 'kind': 5}, 400, 'kind'),
    ('apiVersion is a map', 'POST', CM, {'apiVersion': {}, 'kind': 'ConfigMap'}, 400, ''),
    ('metadata is a list', 'POST', CM, {'metadata': []}, 400, 'metadata'),
    ('metadata is a string', 'POST', CM, {'metadata': 'x'}, 400, 'metadata'),
    ('data is a list', 'POST', CM, cm(data=[]), 400, 'data'),
    ('a value is a number', 'POST', CM, cm(data={'a': 1}), 400, 'data'),
    ('a value is a map', 'POST', CM, cm(data={'a': {}}), 400, 'data'),
    ('binaryData is no base64', 'POST', CM, cm(binaryData={'a': '***'}), 400, 'base64'),
    ('labels are a list', 'POST', CM, cm(metadata={'name': 'x', 'labels': []}), 400, 'labels'),
    ('creationTimestamp is nonsense', 'POST', CM, cm(metadata={'name': 'x', 'creationTimestamp': 'yesterday'}), 400, 'yesterday'),
    ('generation is a text', 'POST', CM, cm(metadata={'name': 'x', 'generation': 'one'}), 400, 'generation'),
    ('unknown field, strict', 'POST', CM + '?fieldValidation=Strict', cm(dada={}), 400, 'unknown field "dada"'),
    ('unknown field inside, strict', 'POST', CM + '?fieldValidation=Strict', cm(metadata={'name': 'x', 'nmae': 'y'}), 400, 'metadata.nmae'),
    ('a field twice, strict', 'POST', CM + '?fieldValidation=Strict', b'{"metadata":{"name":"x"},"data":{"a":"1"},"data":{"b":"2"}}', 400, 'duplicate field "data"'),
    ('an unknown fieldValidation', 'POST', CM + '?fieldValidation=Maybe', cm(), 422, 'fieldValidation'),
    ('an unknown dryRun', 'POST', CM + '?dryRun=Some', cm(), 422, 'dryRun'),
    ('another namespace in the body', 'POST', CM, cm(metadata={'name': 'x', 'namespace': 'default'}), 400, 'namespace'),
    ('a namespace that is not there', 'POST', '/api/v1/namespaces/nowhere/configmaps', cm(), 404, 'nowhere'),
    ('no name', 'POST', CM, cm(metadata={}), 422, 'metadata.name'),
    ('an empty name', 'POST', CM, cm(metadata={'name': ''}), 422, 'metadata.name'),
    ('an exact resourceVersion in a create', 'POST', CM, cm(metadata={'name': 'x', 'resourceVersion': '5'}), (400, 500), 'resourceVersion'),
    ('a body of text/plain', 'POST', CM, b'hello', 415, 'media types', 'text/plain'),
    ('a body of a form', 'POST', CM, b'a=b', 415, 'media types', 'application/x-www-form-urlencoded'),
    ('protobuf without magic', 'POST', CM, b'\x00\x01\x02', 400, '', PROTO),
    ('protobuf cut off', 'POST', CM, b'k8s\0\x0a\xff', 400, '', PROTO),
    ('protobuf of noise', 'POST', CM, b'k8s\0' + bytes(range(255)) * 3, 400, '', PROTO),
    ('protobuf with a length of 2^63', 'POST', CM, b'k8s\0\x12\xff\xff\xff\xff\xff\xff\xff\xff\x7f', 400, '', PROTO),
    ('protobuf whose name is no UTF-8', 'POST', CM, b'k8s\0' + pb(1, pb(1, b'v1') + pb(2, b'ConfigMap')) + pb(2, pb(1, pb(1, b'a\xff'))), 400, 'name', PROTO),
    ('a number beyond all', 'PATCH', KEPT, b'{"metadata":{"annotations":{"a":1e999}}}', 400, 'out of range', MERGE),
    ('YAML of tabs', 'POST', CM, b'metadata:\n\tname: x\n', 400, 'yaml', YAML),
    ('a YAML bomb', 'POST', CM, b'a: &a [x,x,x,x,x,x,x,x,x]\n' + b''.join(
        b'%c: &%c [%s]\n' % (98 + i, 98 + i, b','.join([b'*%c' % (97 + i)] * 9)) for i in range(9)), 400, '', YAML),
    ('YAML with an open quote', 'POST', CM, b'metadata: {name: "x\n', 400, 'yaml', YAML),
    ('YAML that refers to itself', 'POST', CM, b'&a metadata: *a\n', 400, '', YAML),
    ('an Accept of another world', 'GET', CM, None, 406, 'Available representations', '', [('Accept', 'text/html')]),
    ('a Table of v9', 'GET', CM, None, 406, '', '', [('Accept', 'application/json;as=Table;v=v9;g=meta.k8s.io')]),
    ('an unknown path', 'GET', '/nonsense', None, 404, 'not found'),
    ('an unknown group', 'GET', '/apis/nonsense/v1/things', None, 404, 'not found'),
    ('an unknown version', 'GET', '/apis/apps/v9/deployments', None, 404, ''),
    ('an unknown resource', 'GET', '/api/v1/things', None, 404, ''),
    ('an unknown subresource', 'GET', KEPT + '/nonsense', None, 404, ''),
    ('a path that climbs', 'GET', '/api/v1/namespaces/bad/configmaps/../../../../../etc/passwd', None, (400, 404), ''),
    ('a path that climbs, escaped', 'GET', '/api/v1/namespaces/bad/configmaps/%2e%2e%2f%2e%2e%2fsecrets', None, 404, ''),
    ('a name with a slash, escaped', 'GET', '/api/v1/namespaces/bad/configmaps/a%2fb', None, 404, ''),
    ('not there', 'GET', CM + '/none', None, 404, '"none" not found'),
    ('limit is a word', 'GET', CM + '?limit=many', None, 400, 'many'),
    ('limit is negative', 'GET', CM + '?limit=-5', None, (200, 400, 422), ''),
    ('limit of 2^70', 'GET', CM + '?limit=1180591620717411303424', None, 400, 'out of range'),
    ('continue is noise', 'GET', CM + '?limit=1&continue=%21%21', None, 400, 'continue'),
    ('continue to somewhere else', 'GET', CM + '?limit=1&continue=' + 'eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6MSwic3RhcnQiOiIuLi8uLi9zZWNyZXRzLyJ9', None, (400, 410), ''),
    ('resourceVersion is a word', 'GET', CM + '?resourceVersion=new', None, 400, 'new'),
    ('resourceVersion of the future', 'GET', CM + '?resourceVersion=999999999999&resourceVersionMatch=Exact', None, (400, 410, 504), ''),
    ('an unknown resourceVersionMatch', 'GET', CM + '?resourceVersion=1&resourceVersionMatch=About', None, 422, 'About'),
    ('a selector of noise', 'GET', CM + '?labelSelector=%3D%3D%3D', None, 400, ''),
    ('a selector without end', 'GET', CM + '?labelSelector=a+in+(b', None, 400, ''),
    ('a selector with a bad value', 'GET', CM + '?labelSelector=a%3D-b-', None, 400, ''),
    ('a field selector nobody knows', 'GET', CM + '?fieldSelector=spec.colour%3Dred', None, 400, 'spec.colour'),
    ('1,000 parameters', 'GET', CM + '?' + '&'.join('a%d=b' % i for i in range(1000)), None, 400, '256'),
    ('a bad escape in the query', 'GET', CM + '?labelSelector=%zz', None, 400, ''),
    ('a watch of nonsense', 'GET', CM + '?watch=1&resourceVersion=x', None, (400, 500), 'resourceVersion'),
    ('a watch from the future', 'GET', CM + '?watch=1&resourceVersion=99999999999999&timeoutSeconds=1', None, (200, 410, 504), ''),
    ('sendInitialEvents alone', 'GET', CM + '?watch=1&sendInitialEvents=true', None, 422, 'resourceVersionMatch'),
    ('timeoutSeconds of a word', 'GET', CM + '?watch=1&timeoutSeconds=soon', None, 400, 'soon'),
    ('PUT without name', 'PUT', CM, cm(), 405, ''),
    ('DELETE of a word', 'DELETE', KEPT, b'now', 400, ''),
    ('DELETE with a foreign uid', 'DELETE', KEPT, {'preconditions': {'uid': 'none'}}, 409, 'UID'),
    ('DELETE with an old revision', 'DELETE', KEPT, {'preconditions': {'resourceVersion': '1'}}, 409, 'ResourceVersion'),
    ('DELETE with a negative grace', 'DELETE', CM + '/none', {'gracePeriodSeconds': -5}, (400, 404, 422), ''),
    ('DELETE with an unknown propagation', 'DELETE', KEPT, {'propagationPolicy': 'Sideways'}, 422, 'propagationPolicy'),
    ('PUT under another name', 'PUT', KEPT, cm(), 400, 'name'),
    ('PUT of another uid', 'PUT', KEPT, cm(metadata={'name': 'kept', 'uid': 'other'}), 409, 'UID'),
    ('PUT of an old revision', 'PUT', KEPT, cm(metadata={'name': 'kept', 'resourceVersion': '1'}), 409, 'modified'),
    ('PUT of a revision of words', 'PUT', KEPT, cm(metadata={'name': 'kept', 'resourceVersion': 'abc'}), (400, 409, 422, 500), ''),
    ('a patch of no known kind', 'PATCH', KEPT, {}, 415, 'Unsupported', 'application/json'),
    ('a JSON patch that is a map', 'PATCH', KEPT, {}, 400, '', JSONPATCH),
    ('a JSON patch of an unknown op', 'PATCH', KEPT, [{'op': 'explode', 'path': '/data'}], (400, 422), '', JSONPATCH),
    ('a JSON patch of nothing there', 'PATCH', KEPT, [{'op': 'remove', 'path': '/data/none'}], 422, '', JSONPATCH),
    ('a JSON patch whose test fails', 'PATCH', KEPT, [{'op': 'test', 'path': '/data/a', 'value': 'z'}], 422, '', JSONPATCH),
    ('a JSON patch with a bad pointer', 'PATCH', KEPT, [{'op': 'add', 'path': 'data', 'value': 1}], (400, 422), '', JSONPATCH),
    ('a JSON patch of 10,001 steps', 'PATCH', KEPT, [{'op': 'add', 'path': '/data/a', 'value': 'x'}] * 10001, 413, '10000', JSONPATCH),
    ('a JSON patch that doubles itself', 'PATCH', KEPT, [{'op': 'add', 'path': '/metadata/annotations', 'value': {'a': 'x' * 1000}}] +
        [{'op': 'copy', 'from': '/metadata', 'path': '/metadata/annotations/%d' % i} for i in range(60)], (400, 413, 422), '', JSONPATCH),
    ('a merge patch of a list', 'PATCH', KEPT, [], (400, 422), '', MERGE),
    ('a merge patch of a wrong type', 'PATCH', KEPT, {'data': 5}, (400, 422), 'data', MERGE),
    ('a merge patch of the name', 'PATCH', KEPT, {'metadata': {'name': 'other'}}, (400, 422), 'name', MERGE),
    ('a merge patch of the namespace', 'PATCH', KEPT, {'metadata': {'namespace': 'other'}}, (400, 422), 'namespace', MERGE),
    ('a merge patch of an old revision', 'PATCH', KEPT, {'metadata': {'resourceVersion': '1'}, 'data': {'a': 'z'}}, 409, 'modified', MERGE),
    ('a strategic patch with a bad directive', 'PATCH', KEPT, {'data': {'$patch': 'explode'}}, (400, 422, 500), '', STRATEGIC),
    ('a strategic patch that is half', 'PATCH', KEPT, b'{"data":', 400, '', STRATEGIC),
    ('an apply without a manager', 'PATCH', KEPT, cm(), 422, 'fieldManager', APPLY),
    ('an apply of half a document', 'PATCH', KEPT + '?fieldManager=x', b'a: [', 400, 'YAML', APPLY),
    ('an apply of a list', 'PATCH', KEPT + '?fieldManager=x', [], 400, 'array', APPLY),
    ('an apply of another kind', 'PATCH', KEPT + '?fieldManager=x', {'apiVersion': 'v1', 'kind': 'Secret', 'metadata': {'name': 'kept'}}, 400, 'invalid object type', APPLY),
    ('an apply of what no field is', 'PATCH', KEPT + '?fieldManager=x', dict(cm(), what=1), 500, 'field not declared', APPLY),
    ('an apply in CBOR', 'PATCH', KEPT + '?fieldManager=x', b'x', 415, '', 'application/apply-patch+cbor'),
    ('exec into nothing', 'GET', '/api/v1/namespaces/bad/pods/none/exec?command=sh', None, 404, 'none'),
    ('log of nothing', 'GET', '/api/v1/namespaces/bad/pods/none/log', None, 404, 'none'),
    ('log with a word for a number', 'GET', '/api/v1/namespaces/bad/pods/none/log?tailLines=all', None, (400, 404), ''),
    ('bind to a node that is not there', 'POST', '/api/v1/namespaces/bad/pods/none/binding', {'target': {'name': 'n'}, 'metadata': {'name': 'none'}}, 404, ''),
    ('evict nothing', 'POST', '/api/v1/namespaces/bad/pods/none/eviction', {'metadata': {'name': 'none'}}, 404, ''),
    ('a token that never ends', 'POST', '/api/v1/namespaces/bad/serviceaccounts/default/token', {'spec': {'expirationSeconds': 9223372036854775807}}, 422, 'expirationSeconds'),
    ('a token of a second', 'POST', '/api/v1/namespaces/bad/serviceaccounts/default/token', {'spec': {'expirationSeconds': 1}}, 422, 'expirationSeconds'),
    ('a scale of -1', 'PUT', '/apis/apps/v1/namespaces/bad/deployments/none/scale', {'metadata': {'name': 'none'}, 'spec': {'replicas': -1}}, (404, 422), ''),
    ('a proxy to a pod', 'GET', '/api/v1/namespaces/bad/pods/none/proxy/', None, 404, 'none'),
    ('a proxy to a node that is not there', 'GET', '/api/v1/nodes/none/proxy/logs', None, 404, 'none'),
    ('someone else without saying who', 'GET', CM, None, (400, 403, 500), '', '', [('Impersonate-Group', 'system:masters')]),
    ('a token of noise', 'GET', CM, None, 401, 'Unauthorized', '', [('Authorization', 'Bearer a.b.c'), ('X-Nobody', '1')]),
    ('a token of 60,000 bytes', 'GET', CM, None, 401, 'Unauthorized', '', [('Authorization', 'Bearer ' + 'a' * 60000), ('X-Nobody', '1')]),
    ('a token without signature', 'GET', CM, None, 401, 'Unauthorized', '', [('Authorization', 'Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZG1pbiJ9.'), ('X-Nobody', '1')]),
    ('nobody at all', 'GET', CM, None, 403, 'system:anonymous', '', [('X-Nobody', '1')]),
    ('nobody with a body', 'POST', CM, cm(), 403, 'system:anonymous', 'application/json', [('X-Nobody', '1')]),
]

# --- manifests: (kind, field, value, words besides the field): 422 or 400, naming field and reason

POD = {'apiVersion': 'v1', 'kind': 'Pod', 'metadata': {'name': 'x'}, 'spec': {'containers': [{'name': 'c', 'image': 'i'}]}}
SERVICE = {'apiVersion': 'v1', 'kind': 'Service', 'metadata': {'name': 'x'}, 'spec': {'selector': {'a': 'b'}, 'ports': [{'port': 80}]}}
TEMPLATE = {'metadata': {'labels': {'a': 'b'}}, 'spec': {'containers': [{'name': 'c', 'image': 'i'}]}}
DEPLOYMENT = {'apiVersion': 'apps/v1', 'kind': 'Deployment', 'metadata': {'name': 'x'},
              'spec': {'selector': {'matchLabels': {'a': 'b'}}, 'template': TEMPLATE}}
CONFIGMAP = {'apiVersion': 'v1', 'kind': 'ConfigMap', 'metadata': {'name': 'x'}, 'data': {}}
SECRET = {'apiVersion': 'v1', 'kind': 'Secret', 'metadata': {'name': 'x'}}
JOB = {'apiVersion': 'batch/v1', 'kind': 'Job', 'metadata': {'name': 'x'}, 'spec': {'template': dict(TEMPLATE, spec=dict(TEMPLATE['spec'], restartPolicy='Never'))}}
INGRESS = {'apiVersion': 'networking.k8s.io/v1', 'kind': 'Ingress', 'metadata': {'name': 'x'},
           'spec': {'defaultBackend': {'service': {'name': 's', 'port': {'number': 80}}}}}
PVC = {'apiVersion': 'v1', 'kind': 'PersistentVolumeClaim', 'metadata': {'name': 'x'},
       'spec': {'accessModes': ['ReadWriteOnce'], 'resources': {'requests': {'storage': '1Gi'}}}}
ROLE = {'apiVersion': 'rbac.authorization.k8s.io/v1', 'kind': 'Role', 'metadata': {'name': 'x'}, 'rules': [{'apiGroups': [''], 'resources': ['pods'], 'verbs': ['get']}]}
BINDING = {'apiVersion': 'rbac.authorization.k8s.io/v1', 'kind': 'RoleBinding', 'metadata': {'name': 'x'},
           'roleRef': {'apiGroup': 'rbac.authorization.k8s.io', 'kind': 'Role', 'name': 'r'}, 'subjects': [{'kind': 'User', 'apiGroup': 'rbac.authorization.k8s.io', 'name': 'u'}]}
CRON = {'apiVersion': 'batch/v1', 'kind': 'CronJob', 'metadata': {'name': 'x'}, 'spec': {'schedule': '* * * * *', 'jobTemplate': {'spec': JOB['spec']}}}
BUDGET = {'apiVersion': 'policy/v1', 'kind': 'PodDisruptionBudget', 'metadata': {'name': 'x'}, 'spec': {'minAvailable': 1, 'selector': {}}}
PLURALS = {'Pod': '/api/v1/namespaces/bad/pods', 'Service': '/api/v1/namespaces/bad/services', 'ConfigMap': CM,
           'Secret': '/api/v1/namespaces/bad/secrets', 'PersistentVolumeClaim': '/api/v1/namespaces/bad/persistentvolumeclaims',
           'Deployment': '/apis/apps/v1/namespaces/bad/deployments', 'Job': '/apis/batch/v1/namespaces/bad/jobs',
           'CronJob': '/apis/batch/v1/namespaces/bad/cronjobs', 'Ingress': '/apis/networking.k8s.io/v1/namespaces/bad/ingresses',
           'Role': '/apis/rbac.authorization.k8s.io/v1/namespaces/bad/roles',
           'RoleBinding': '/apis/rbac.authorization.k8s.io/v1/namespaces/bad/rolebindings',
           'PodDisruptionBudget': '/apis/policy/v1/namespaces/bad/poddisruptionbudgets'}
C, V = 'spec.containers[0].', 'spec.volumes'
MOUNT = [{'name': 'v', 'mountPath': '/v'}]
EMPTY = [{'name': 'v', 'emptyDir': {}}]


def mounted(**more):
    return [dict(MOUNT[0], **more)]


MANIFESTS = [
    (POD, 'metadata.name', 'UPPER', 'lowercase'), (POD, 'metadata.name', 'a' * 254, '253'), (POD, 'metadata.name', '../etc', 'RFC 1123'),
    (POD, 'metadata.name', 'a/b', ''), (POD, 'metadata.name', '.', ''), (POD, 'metadata.name', '-a', 'RFC 1123'), (POD, 'metadata.name', 'a\nb', ''),
    (POD, 'metadata.generateName', 'A_', 'RFC 1123'), (POD, 'metadata.labels', {'a b': 'c'}, 'a b'), (POD, 'metadata.labels', {'a': 'x' * 64}, '63'),
    (POD, 'metadata.labels', {'a/b/c': 'x'}, ''), (POD, 'metadata.labels', {'': 'x'}, ''), (POD, 'metadata.labels', {'a': '../x'}, ''),
    (POD, 'metadata.annotations', {'a': 'x' * 300000}, '262144'), (POD, 'metadata.annotations', {'-': 'x'}, ''),
    (POD, 'metadata.ownerReferences', [{'kind': 'Pod'}], ''), (POD, 'metadata.finalizers', ['x y'], ''),
    (POD, 'spec.containers', [], 'Required'), (POD, 'spec.containers', None, 'Required'), (POD, C + 'name', '', 'Required'), (POD, C + 'name', 'A', 'RFC 1123'),
    (POD, C + 'name', 'a' * 64, '63'), (POD, C + 'image', '', 'Required'), (POD, C + 'image', ' i', 'whitespace'), (POD, C + 'imagePullPolicy', 'Perhaps', 'supported'),
    (POD, 'spec.containers', [{'name': 'c', 'image': 'i'}] * 2, 'Duplicate'), (POD, 'spec.initContainers', [{'name': 'c', 'image': 'i'}], 'Duplicate'),
    (POD, C + 'ports', [{'containerPort': -1}], 'between 1 and 65535'), (POD, C + 'ports', [{'containerPort': 65536}], 'between 1 and 65535'),
    (POD, C + 'ports', [{'containerPort': 0}], ''), (POD, C + 'ports', [{'containerPort': 80, 'protocol': 'ICMP'}], 'supported'),
    (POD, C + 'ports', [{'containerPort': 80, 'hostPort': 70000}], 'between 1 and 65535'), (POD, C + 'ports', [{'containerPort': 80, 'name': 'WAY-too-long-for-a-port'}], 'name'),
    (POD, C + 'ports', [{'containerPort': '80'}], 'unmarshal'), (POD, C + 'ports', [{'containerPort': 1e30}], ''), (POD, C + 'ports', [{'containerPort': 80.5}], ''),
    (POD, C + 'env', [{'name': ''}], 'Required'), (POD, C + 'env', [{'name': 'a=b', 'value': 'x'}], ''), (POD, C + 'env', [{'name': 'A', 'value': 'x', 'valueFrom': {'fieldRef': {'fieldPath': 'metadata.name'}}}], 'may not be specified'),
    (POD, C + 'env', [{'name': 'A', 'valueFrom': {}}], ''), (POD, C + 'env', [{'name': 'A', 'valueFrom': {'fieldRef': {'fieldPath': 'spec.secrets'}}}], 'spec.secrets'),
    (POD, C + 'env', [{'name': 'A', 'valueFrom': {'resourceFieldRef': {'resource': 'limits.luck'}}}], 'limits.luck'),
    (POD, C + 'env', [{'name': 'A', 'valueFrom': {'configMapKeyRef': {'name': 'm', 'key': '../x'}}}], ''), (POD, C + 'env', [{'name': 'A', 'value': 5}], 'unmarshal'),
    (POD, C + 'resources', {'limits': {'cpu': '-1'}}, 'greater than or equal to 0'), (POD, C + 'resources', {'limits': {'cpu': 'lots'}}, 'match the regular expression'),
    (POD, C + 'resources', {'limits': {'cpu': '1', 'memory': '1'}, 'requests': {'cpu': '2'}}, 'less than or equal'), (POD, C + 'resources', {'limits': {'luck': '1'}}, ''),
    (POD, C + 'resources', {'requests': {'memory': '1e1000000'}}, ''),
    (POD, C + 'volumeMounts', MOUNT, 'Not found'), (POD, C + 'livenessProbe', {}, 'Required'), (POD, C + 'livenessProbe', {'httpGet': {'port': 0}}, ''),
    (POD, C + 'livenessProbe', {'httpGet': {'port': 80}, 'exec': {'command': ['x']}}, 'more than 1'), (POD, C + 'livenessProbe', {'httpGet': {'port': 80}, 'periodSeconds': -1}, 'greater than or equal to 0'),
    (POD, C + 'livenessProbe', {'httpGet': {'port': 80, 'scheme': 'GOPHER'}}, 'supported'), (POD, C + 'readinessProbe', {'exec': {}}, 'Required'),
    (POD, C + 'lifecycle', {'preStop': {}}, 'Required'), (POD, C + 'lifecycle', {'preStop': {'sleep': {'seconds': 99999999}}}, ''),
    (POD, C + 'securityContext', {'runAsUser': -5}, ''), (POD, C + 'securityContext', {'runAsUser': 'root'}, 'unmarshal'), (POD, C + 'securityContext', {'procMount': 'Sideways'}, 'supported'),
    (POD, C + 'securityContext', {'privileged': True, 'allowPrivilegeEscalation': False}, 'allowPrivilegeEscalation'), (POD, C + 'securityContext', {'seccompProfile': {'type': 'Localhost', 'localhostProfile': '../../etc/passwd'}}, ''),
    (POD, C + 'securityContext', {'seccompProfile': {'type': 'Localhost', 'localhostProfile': '/etc/passwd'}}, ''), (POD, C + 'terminationMessagePolicy', 'Loudly', 'supported'),
    (POD, 'spec.restartPolicy', 'Sometimes', 'supported'), (POD, 'spec.dnsPolicy', 'Guess', 'supported'), (POD, 'spec.dnsPolicy', 'None', 'dnsConfig'), (POD, 'spec.hostname', 'a.b', ''), (POD, 'spec.subdomain', '-', ''),
    (POD, 'spec.nodeSelector', {'a b': 'c'}, ''), (POD, 'spec.nodeName', 'no such/node', ''), (POD, 'spec.serviceAccountName', 'UPPER', ''), (POD, 'spec.activeDeadlineSeconds', 0, ''), (POD, 'spec.activeDeadlineSeconds', -1, ''),
    (POD, 'spec.terminationGracePeriodSeconds', 'long', 'unmarshal'), (POD, 'spec.priorityClassName', 'none', ''), (POD, 'spec.hostAliases', [{'ip': '1.2.3', 'hostnames': ['a']}], ''),
    (POD, 'spec.tolerations', [{'operator': 'Hates'}], ''), (POD, 'spec.securityContext', {'sysctls': [{'name': '../kernel', 'value': '1'}]}, ''), (POD, 'spec.affinity', {'nodeAffinity': {'requiredDuringSchedulingIgnoredDuringExecution': {'nodeSelectorTerms': []}}}, 'Required'),
    (POD, 'spec.topologySpreadConstraints', [{'maxSkew': 0, 'topologyKey': 'a', 'whenUnsatisfiable': 'DoNotSchedule'}], 'maxSkew'), (POD, 'spec.overhead', {'cpu': '-1'}, ''), (POD, 'spec', {}, 'Required'), (POD, 'spec', 'x', 'unmarshal'), (POD, 'spec.containers', {}, 'unmarshal'),
    (POD, V, EMPTY * 2, 'Duplicate'), (POD, V, [{'name': 'V!', 'emptyDir': {}}], ''), (POD, V, [{'name': 'v', 'emptyDir': {}, 'hostPath': {'path': '/'}}], 'more than 1'),
    (POD, V, [{'name': 'v', 'hostPath': {'path': ''}}], 'Required'), (POD, V, [{'name': 'v', 'hostPath': {'path': '/a/../etc'}}], "'..'"), (POD, V, [{'name': 'v', 'hostPath': {'path': '/a', 'type': 'Black'}}], 'supported'),
    (POD, V, [{'name': 'v', 'emptyDir': {'sizeLimit': '-1'}}], ''), (POD, V, [{'name': 'v', 'configMap': {}}], 'Required'), (POD, V, [{'name': 'v', 'configMap': {'name': 'm', 'items': [{'key': 'a', 'path': '../x'}]}}], "'..'"),
    (POD, V, [{'name': 'v', 'configMap': {'name': 'm', 'items': [{'key': 'a', 'path': '/x'}]}}], 'relative'), (POD, V, [{'name': 'v', 'configMap': {'name': 'm', 'items': [{'key': 'a', 'path': 'x/../../y'}]}}], "'..'"),
    (POD, V, [{'name': 'v', 'secret': {'secretName': 's', 'defaultMode': 99999}}], ''), (POD, V, [{'name': 'v', 'secret': {'secretName': 's', 'items': [{'key': 'a', 'path': '..x'}]}}], "'..'"),
    (POD, V, [{'name': 'v', 'downwardAPI': {'items': [{'path': '../x', 'fieldRef': {'fieldPath': 'metadata.name'}}]}}], "'..'"), (POD, V, [{'name': 'v', 'projected': {'sources': [{'serviceAccountToken': {'path': '/etc/passwd'}}]}}], 'relative'),
    (POD, V, [{'name': 'v', 'projected': {'sources': [{'serviceAccountToken': {'path': 't', 'expirationSeconds': 1}}]}}], '10 minutes'), (POD, V, [{'name': 'v', 'nfs': {'server': '', 'path': 'x'}}], ''),
    (SERVICE, 'metadata.name', 'a' * 64, '63'), (SERVICE, 'spec.ports', [], 'Required'), (SERVICE, 'spec.ports', [{'port': -1}], 'between 1 and 65535'), (SERVICE, 'spec.ports', [{'port': 99999}], 'between 1 and 65535'),
    (SERVICE, 'spec.ports', [{'port': 80}, {'port': 81}], 'name'), (SERVICE, 'spec.ports', [{'port': 80, 'targetPort': 'NO!'}], ''), (SERVICE, 'spec.ports', [{'port': 80, 'nodePort': 30000}], 'nodePort'), (SERVICE, 'spec.type', 'Magic', 'supported'), (SERVICE, 'spec.clusterIP', '1.2.3.4.5', ''),
    (SERVICE, 'spec.clusterIP', '8.8.8.8', ''), (SERVICE, 'spec.externalIPs', ['127.0.0.1'], 'loopback'), (SERVICE, 'spec.externalIPs', ['x'], ''), (SERVICE, 'spec.sessionAffinity', 'Love', 'supported'), (SERVICE, 'spec.selector', {'a b': 'c'}, ''), (SERVICE, 'spec.externalTrafficPolicy', 'Local', ''), (SERVICE, 'spec.ipFamilies', ['IPv7'], ''),
    (DEPLOYMENT, 'spec.replicas', -1, 'greater than or equal to 0'), (DEPLOYMENT, 'spec.replicas', 'three', 'unmarshal'), (DEPLOYMENT, 'spec.replicas', 3000000000, ''), (DEPLOYMENT, 'spec.selector', {'matchLabels': {'a': 'z'}}, 'template'), (DEPLOYMENT, 'spec.selector', None, 'Required'),
    (DEPLOYMENT, 'spec.selector', {}, ''), (DEPLOYMENT, 'spec.template.spec.containers', [], 'Required'), (DEPLOYMENT, 'spec.template.spec.restartPolicy', 'Never', 'supported'), (DEPLOYMENT, 'spec.strategy', {'type': 'Shout'}, 'supported'), (DEPLOYMENT, 'spec.strategy', {'rollingUpdate': {'maxSurge': 0, 'maxUnavailable': 0}}, 'maxUnavailable'),
    (DEPLOYMENT, 'spec.strategy', {'rollingUpdate': {'maxSurge': '150x'}}, ''), (DEPLOYMENT, 'spec.strategy', {'rollingUpdate': {'maxUnavailable': '101%'}}, '100%'), (DEPLOYMENT, 'spec.minReadySeconds', -1, 'greater than or equal to 0'), (DEPLOYMENT, 'spec.progressDeadlineSeconds', 0, ''), (DEPLOYMENT, 'spec.revisionHistoryLimit', -1, 'greater than or equal to 0'),
    (CONFIGMAP, 'data', {'..': 'x'}, ''), (CONFIGMAP, 'data', {'.': 'x'}, ''), (CONFIGMAP, 'data', {'../x': 'x'}, ''), (CONFIGMAP, 'data', {'a/b': 'x'}, ''), (CONFIGMAP, 'data', {'..data': 'x'}, ''), (CONFIGMAP, 'data', {'a' * 254: 'x'}, '253'), (CONFIGMAP, 'data', {'': 'x'}, ''), (CONFIGMAP, 'data', {'a\0b': 'x'}, ''),
    (CONFIGMAP, 'immutable', 'yes', 'unmarshal'), (SECRET, 'data', {'..': 'eA=='}, ''), (SECRET, 'data', {'a': 'no base64!'}, 'base64'), (SECRET, 'stringData', {'a/b': 'x'}, ''), (SECRET, 'type', 'kubernetes.io/tls', ''), (SECRET, 'type', 'kubernetes.io/dockerconfigjson', ''),
    (JOB, 'spec.parallelism', -1, ''), (JOB, 'spec.backoffLimit', -1, ''), (JOB, 'spec.template.spec.restartPolicy', 'Always', ''), (JOB, 'spec.completionMode', 'Half', ''), (CRON, 'spec.schedule', 'every tuesday', ''), (CRON, 'spec.schedule', '99 * * * *', ''), (CRON, 'spec.timeZone', '../etc/passwd', ''), (CRON, 'spec.concurrencyPolicy', 'x', 'supported'),
    (INGRESS, 'spec.rules', [{'host': '1.2.3.4'}], ''), (INGRESS, 'spec.rules', [{'host': 'a', 'http': {'paths': [{'path': 'x', 'pathType': 'Exact', 'backend': {'service': {'name': 's', 'port': {'number': 1}}}}]}}], ''), (INGRESS, 'spec.defaultBackend', {'service': {'name': 's', 'port': {'number': 0}}}, ''),
    (PVC, 'spec.accessModes', [], 'Required'), (PVC, 'spec.accessModes', ['WriteSometimes'], 'supported'), (PVC, 'spec.resources', {'requests': {'storage': '-1Gi'}}, ''), (PVC, 'spec.resources', {}, 'Required'),
    (ROLE, 'rules', [{'verbs': []}], 'verb'), (BINDING, 'roleRef', {'kind': 'Pod', 'name': 'x', 'apiGroup': 'rbac.authorization.k8s.io'}, 'supported'), (BINDING, 'subjects', [{'kind': 'Ghost', 'name': 'x'}], ''), (BUDGET, 'spec.minAvailable', -1, ''), (BUDGET, 'spec', {'minAvailable': 1, 'maxUnavailable': 1, 'selector': {}}, ''),
]
MOUNTS = [(m, w) for m, w in (
    (mounted(subPath='../x'), "'..'"), (mounted(subPath='/x'), 'relative'), (mounted(subPath='a/../../x'), "'..'"), (mounted(subPathExpr='../$(A)'), "'..'"), (mounted(subPath='a', subPathExpr='b'), ''),
    (mounted(mountPath=''), 'Required'), (mounted(mountPropagation='Upward'), 'supported'), (MOUNT * 2, 'unique'), (mounted(mountPropagation='Bidirectional'), 'Bidirectional'))]


def put(tree, path, value):
    """A copy with the value at the path."""
    tree = at = copy.deepcopy(tree)
    steps = re.findall(r'[^.\[\]]+', path)
    for s in steps[:-1]:
        at = at[int(s)] if isinstance(at, list) else at.setdefault(s, {})
    at[int(steps[-1]) if isinstance(at, list) else steps[-1]] = value
    return tree


def manifests():
    """(name, path, object, words that must be in the message)"""
    for base, field, value, words in MANIFESTS:
        yield '%s %s=%.40s' % (base['kind'], field, json.dumps(value)), PLURALS[base['kind']], put(base, field, value), (field_name(base, field), words)
    for mounts, words in MOUNTS:
        pod = put(put(POD, V, EMPTY), C + 'volumeMounts', mounts)
        yield 'Pod volumeMounts=%.60s' % json.dumps(mounts), PLURALS['Pod'], pod, ('volumeMounts', words)


# where upstream's sentence names the thing, not the field
NAMED = {'resources': '', 'serviceAccountName': 'service account', 'priorityClassName': 'PriorityClass', 'stringData': 'data', 'type': 'data'}


def field_name(base, field):
    """The last name of the path: Go's own messages show another path than field errors."""
    name = re.findall(r'[a-zA-Z]+', field)[-1]
    return NAMED.get(name, name) if base['kind'] in ('Pod', 'Secret') else name
