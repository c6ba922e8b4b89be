/* door_test.h - parts of the front door as text, for transcripts. A line each:
 *
 *   listener KEY PORT [https | tcp | tls [terminate]] [hostname=H] [isolated] [cert=KEY]... [ca=KEY]
 *   cert KEY HOST...                     made on the spot
 *   pool KEY [PORT[*WEIGHT]]... [h2] [cookie=N] [lost=N] [time=MS] [header=N]
 *   route LISTENER HOST PATH [word]...   PATH: =/exact, /prefix, ~pattern
 *   stream LISTENER HOST POOL
 *   alpn HOST CERT
 *   answer HOST PATH BODY                HOST "*": any
 *
 * Words: deep falls icase method=M h:NAME=VALUE h~NAME=VALUE h!NAME q:.. q~.. q!.. c:.. source=RANGES percent=N
 * created=N owner=O index=N pool=K and what an action has. In a word \s is a space, \n a line break. */
#pragma once
#include "base/test.h"
#include "edge/door_int.h"

struct door_story {
    struct arena own;
    struct door_part part;
    ARRAY(struct door_pool) pools;
};
void door_story_read(struct door_story *t, struct str line); /* a line that it does not know fails the test */
void door_story_fini(struct door_story *t);
