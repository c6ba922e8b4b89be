#!/usr/bin/env python3
"""Stories of tests/stories: pods of every sort from their beginning to their end, each write that a watcher sees and each
event held against what a Kubernetes node makes of them. The short form plays those that are over soon.

UPDATE=1 writes what was seen into the files (read the difference: they hold what Kubernetes does, not what we do)."""
import concurrent.futures, glob
from lib import *
from story import Play, sections

STORIES = os.path.join(TOP, 'tests/stories')
# Their waits are part of what they tell.
LONG = ('volume-configmap-missing-timeout', 'readiness-fails-then-passes', 'image-invalid-name', 'sidecar-crashes',
        'http-probe-timeout', 'delete-ignores-term', 'sidecar-start-and-delete', 'liveness-exec-fails')


def play(c, tls, name):
    path = os.path.join(STORIES, name + '.txt')
    with open(path) as f:
        text = f.read()
    story = Play(c, tls, name, text)
    wrong = story.run()
    if wrong and os.environ.get('UPDATE'):
        with open(path, 'w') as f:
            f.write(re.split(r'^== pod ', text, maxsplit=1, flags=re.M)[0] + story.text())
    return wrong


def stories_are_as_told(c):
    names = sorted(os.path.basename(p)[:-4] for p in glob.glob(STORIES + '/*.txt'))
    names = [n for n in names if (STORM or n not in LONG) and re.search(os.environ.get('STORY', ''), n)]
    tls = admin_tls(c.env['KUBECONFIG'])
    failed = []
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        running = {pool.submit(play, c, tls, n): n for n in names}
        for done in concurrent.futures.as_completed(running):
            wrong = done.exception() or done.result()
            if wrong:
                failed.append(running[done])
                print('---- %s: %s' % (running[done], wrong), flush=True)
    assert not failed, '%d of %d stories differ: %s' % (len(failed), len(names), ' '.join(sorted(failed)))


if __name__ == '__main__':
    main([stories_are_as_told])
