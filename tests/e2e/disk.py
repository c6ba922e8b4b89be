"""A power cut on a real process: disk.c journals what it does to the files below a folder; Disk makes the folder as it
may be found after the power went at any record of the journal.

What POSIX promises, and nothing else: a file has what its last sync left; of what was written since, any sectors are on
the disk and any are not. A name is in its folder, or gone from it, when the folder was synced; of what was done to names
since, anything may be there, in the order in which it was done. A sync of a file says nothing about its name."""
import os, struct, subprocess, tempfile

SECTOR = 512
MAKE, WRITE, TRUNCATE, SYNC, SYNC_FOLDER, UNLINK, RENAME, LINK, FOLDER = range(1, 10)
HEAD = struct.Struct('<IIqq')


def shim(where):
    """The library for LD_PRELOAD, built below `where`."""
    out = where + '/disk.so'
    source = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'disk.c')
    subprocess.run(['gcc', '-O2', '-Wall', '-Wextra', '-Werror', '-shared', '-fPIC', '-o', out, source], check=True)
    return out


def journal_read(path):
    """Its records: (operation, path, at, data, where in the journal the record ends)."""
    with open(path, 'rb') as f:
        text = f.read()
    records, at = [], 0
    while at + HEAD.size <= len(text):
        op, path_n, off, n = HEAD.unpack_from(text, at)
        begin = at + HEAD.size + path_n
        if begin + n > len(text):
            break                                       # the process was killed inside of this one
        at = begin + n
        records.append((op, text[begin - path_n:begin].decode(), off, text[begin:at], at))
    return records


class File:
    def __init__(self):
        self.synced, self.since = bytearray(), []       # as of the last sync; what was done after it

    def sync(self):
        for op, at, piece in self.since:
            if op == TRUNCATE:
                _cut(self.synced, at)
            else:
                self.synced.extend(bytes(max(0, at - len(self.synced))))
                self.synced[at:at + len(piece)] = piece
        self.since = []

    def now(self, keeps):
        """The content, where `keeps()` says of each sector and each truncation since whether it got through."""
        data = bytearray(self.synced)
        for op, at, piece in self.since:
            if op == TRUNCATE:
                if keeps():
                    _cut(data, at)
                continue
            begin = 0
            while begin < len(piece):
                end = min(len(piece), begin + SECTOR - (at + begin) % SECTOR)
                if keeps():
                    data.extend(bytes(max(0, at + begin - len(data))))
                    data[at + begin:at + end] = piece[begin:end]
                begin = end
        return data


class Disk:
    """The files below a folder after the first records of a journal, and what of it is sure. `before`: a folder with what
    was there when the journal began, all of it sure."""

    def __init__(self, folder, before=None):
        self.folder = folder
        self.names = {folder: 'folder'}                 # as the process sees it: path -> File or 'folder'
        self.sure = {folder: 'folder'}                  # what a power cut leaves for sure
        self.pending = {}                               # folder -> [(path, what it became or None)] since its last sync
        for top, dirs, files in os.walk(before or '/nonexistent'):
            at = folder + top[len(before):]
            for d in dirs:
                self.names[at + '/' + d] = self.sure[at + '/' + d] = 'folder'
            for f in files:
                file = File()
                with open(top + '/' + f, 'rb') as text:
                    file.synced = bytearray(text.read())
                self.names[at + '/' + f] = self.sure[at + '/' + f] = file

    def _became(self, *changes):                        # at one stroke
        for path, what in changes:
            if what is None:
                self.names.pop(path, None)
            else:
                self.names[path] = what
        self.pending.setdefault(os.path.dirname(changes[0][0]), []).append(changes)

    def take(self, record):
        op, path, at, data, _ = record
        if op == MAKE:
            self._became((path, File()))
        elif op == FOLDER:
            self._became((path, 'folder'))
        elif op == UNLINK:
            self._became((path, None))
        elif op == RENAME:
            self._became((data.decode(), self.names[path]), (path, None))
        elif op == LINK:
            self._became((data.decode(), self.names[path]))
        elif op == SYNC_FOLDER:
            for changes in self.pending.pop(path, []):
                _apply(self.sure, changes)
        elif op == SYNC:
            self.names[path].sync()
        else:
            self.names[path].since.append((op, at, data))

    def write(self, to, rng, chance):
        """The folder as it may be found: `chance` that something unsynced got through (0: nothing, 1: all)."""
        keeps = lambda: rng.random() < chance
        names = dict(self.sure)
        for changes in self.pending.values():
            for c in changes:
                if keeps():
                    _apply(names, c)
        made = {}
        for path in sorted(names):
            above = os.path.dirname(path)
            if path != self.folder and names.get(above) != 'folder':
                continue                                # its folder's own name was lost
            out = to + path[len(self.folder):]
            if names[path] == 'folder':
                os.makedirs(out, 0o700, exist_ok=True)
            elif names[path] in made:
                os.link(made[names[path]], out)
            else:
                made[names[path]] = out
                with open(os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), 'wb') as f:
                    f.write(names[path].now(keeps))


def _cut(data, n):
    del data[n:]
    data.extend(bytes(n - len(data)))


def _apply(names, changes):
    for path, what in changes:
        if what is None:
            names.pop(path, None)
        else:
            names[path] = what
