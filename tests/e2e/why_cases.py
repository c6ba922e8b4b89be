"""The workloads that why_test.py breaks, a row each: what is applied, what is asked, and the sentence."""

HERE, SECRET, NOBODY = '127.0.0.1:5015', 'cred', '127.0.0.1:5999'
IMAGE = 'wherry.dev/test:1'


def sh(script):
    return 'command: [sh, -c, %r]' % script


def pod(name, container='', spec='', image=IMAGE):
    return f'''
apiVersion: v1
kind: Pod
metadata: {{name: {name}, labels: {{app: {name}}}}}
spec:
  terminationGracePeriodSeconds: 0
  {spec}
  containers: [{{name: c, image: "{image}"{', ' + container if container else ''}}}]
'''


def deploy(name, container='', spec='', image=IMAGE, replicas=1, more=''):
    return f'''
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}}}
spec:
  replicas: {replicas}
  {more}
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      terminationGracePeriodSeconds: 0
      {spec}
      containers: [{{name: c, image: "{image}"{', ' + container if container else ''}}}]
'''


def stateful(name, container='', service='', before=''):
    return f'''{before}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {{name: {name}}}
spec:
  replicas: 2
  serviceName: "{service}"
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      terminationGracePeriodSeconds: 0
      containers: [{{name: c, image: "{IMAGE}"{', ' + container if container else ''}}}]
'''


def service(name, selector, target):
    return f'''
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec: {{selector: {{app: {selector}}}, ports: [{{port: 80, targetPort: {target}}}]}}
'''


def probe(kind, what, more=''):
    return '%sProbe: {%s, periodSeconds: 1, failureThreshold: 1%s}' % (kind, what, more)


PULL = 'imagePullSecrets: [{name: cred}]'
ALWAYS = 'imagePullPolicy: Always'
SLEEP = sh('sleep 100000')
ROWS = [
    ('deploy/image-name', deploy('image-name', ALWAYS, PULL, HERE + '/team/wbe:1'),
     'Deployment image-name has 0 of 1 pods ready: pod image-name-* cannot pull 127.0.0.1:5015/team/wbe:1: the registry 127.0.0.1:5015 answered 404 manifest unknown. Push it there, or set another image: kubectl set image deploy/image-name c=IMAGE.'),
    ('deploy/image-tag', deploy('image-tag', ALWAYS, PULL, HERE + '/team/web:2'),
     'Deployment image-tag has 0 of 1 pods ready: pod image-tag-* cannot pull 127.0.0.1:5015/team/web:2: the registry 127.0.0.1:5015 answered 404 manifest unknown. Push it there, or set another image: kubectl set image deploy/image-tag c=IMAGE.'),
    ('deploy/registry-down', deploy('registry-down', ALWAYS, '', NOBODY + '/web:1'),
     'Deployment registry-down has 0 of 1 pods ready: pod registry-down-* cannot pull 127.0.0.1:5999/web:1: nothing listens at the registry 127.0.0.1:5999 (connection refused). Start that registry, or set another image: kubectl set image deploy/registry-down c=IMAGE.'),
    ('deploy/registry-name', deploy('registry-name', ALWAYS, '', 'registry.invalid/web:1'),
     "Deployment registry-name has 0 of 1 pods ready: pod registry-name-* cannot pull registry.invalid/web:1: there is no host registry.invalid in the node's DNS. Mend the image's name: kubectl set image deploy/registry-name c=IMAGE, or the node's /etc/resolv.conf."),
    ('deploy/no-pull-secret', deploy('no-pull-secret', ALWAYS, '', HERE + '/team/web:1'),
     'Deployment no-pull-secret has 0 of 1 pods ready: pod no-pull-secret-* cannot pull 127.0.0.1:5015/team/web:1: the registry 127.0.0.1:5015 wants credentials (unauthorized: authentication required), and the pod names no imagePullSecrets. Make a Secret: kubectl create secret docker-registry pull --docker-server=127.0.0.1:5015 --docker-username=USER --docker-password=PASSWORD; and name it: spec.template.spec.imagePullSecrets: [{name: pull}], with kubectl edit deploy/no-pull-secret.'),
    ('deploy/gone-pull-secret', deploy('gone-pull-secret', ALWAYS, 'imagePullSecrets: [{name: nix}]', HERE + '/team/web:1'),
     'Deployment gone-pull-secret has 0 of 1 pods ready: pod gone-pull-secret-* cannot pull 127.0.0.1:5015/team/web:1: the registry 127.0.0.1:5015 wants credentials, and the Secret nix that imagePullSecrets names is not there. Make it: kubectl create secret docker-registry nix --docker-server=127.0.0.1:5015 --docker-username=USER --docker-password=PASSWORD.'),
    ('deploy/wrong-pull-secret', deploy('wrong-pull-secret', ALWAYS, 'imagePullSecrets: [{name: wrong}]', HERE + '/team/web:1'),
     'Deployment wrong-pull-secret has 0 of 1 pods ready: pod wrong-pull-secret-* cannot pull 127.0.0.1:5015/team/web:1: the registry 127.0.0.1:5015 refuses the credentials in Secret wrong (unauthorized: authentication required). Make that Secret anew (kubectl delete it first): kubectl create secret docker-registry wrong --docker-server=127.0.0.1:5015 --docker-username=USER --docker-password=PASSWORD.'),
    ('deploy/other-pull-secret', deploy('other-pull-secret', ALWAYS, 'imagePullSecrets: [{name: other}]', HERE + '/team/web:1'),
     'Deployment other-pull-secret has 0 of 1 pods ready: pod other-pull-secret-* cannot pull 127.0.0.1:5015/team/web:1: the Secret other that imagePullSecrets names has credentials for example.com and none for the registry 127.0.0.1:5015. Make that Secret anew (kubectl delete it first): kubectl create secret docker-registry other --docker-server=127.0.0.1:5015 --docker-username=USER --docker-password=PASSWORD.'),
    ('deploy/never-pull', deploy('never-pull', 'imagePullPolicy: Never', '', 'wherry.dev/nix:1'),
     'Deployment never-pull has 0 of 1 pods ready: pod never-pull-* may not pull wherry.dev/nix:1, as imagePullPolicy is Never, and node NODE does not have it. Load it there: wherry image load FILE, or set spec.template.spec.containers imagePullPolicy to IfNotPresent: kubectl edit deploy/never-pull.'),
    ('deploy/bad-name', deploy('bad-name', '', '', 'Bad//Name'),
     'Deployment bad-name has 0 of 1 pods ready: pod bad-name-* cannot read the image name "Bad//Name" of its container c: repository name (/Name) must be lowercase. Mend it: kubectl set image deploy/bad-name c=IMAGE.'),
    ('deploy/crash', deploy('crash', sh('echo reading; echo cannot open /etc/app.conf; exit 3')),
     'Deployment crash has 0 of 1 pods ready: pod crash-* cannot keep its container c running: it exits with code 3; its last line was "cannot open /etc/app.conf". Mend what it complains of; more of it: kubectl logs crash-* -c c --previous.'),
    ('deploy/oom', deploy('oom', sh('x=0123456789; while :; do x=$x$x; done') + ', resources: {limits: {memory: 16Mi}}'),
     'Deployment oom has 0 of 1 pods ready: pod oom-* cannot keep its container c running: it is killed when it uses more memory than its limit of 16Mi. Raise the limit: kubectl set resources deploy/oom -c c --limits=memory=MORE, or let it use less.'),
    ('deploy/ends-well', deploy('ends-well', sh('echo done')),
     'Deployment ends-well has 0 of 1 pods ready: pod ends-well-* cannot keep its container c running: it ends by itself with exit code 0, and a pod with restartPolicy Always is to run on. Give it a command that runs on: kubectl edit deploy/ends-well, or make it a pod with restartPolicy OnFailure.'),
    ('deploy/unready', deploy('unready', SLEEP + ', ' + probe('readiness', 'exec: {command: [sh, -c, "echo no database; false"]}')),
     'Deployment unready has 0 of 1 pods ready: pod unready-* runs, but the readiness probe of its container c (exec sh -c echo no database; false) fails: "no database". Mend what it reports, or mend readinessProbe: kubectl edit deploy/unready.'),
    ('deploy/unlively', deploy('unlively', SLEEP + ', ' + probe('liveness', 'exec: {command: [cat, /alive]}')),
     'Deployment unlively has 0 of 1 pods ready: pod unlively-* has its container c restarted again and again, as its liveness probe (exec cat /alive) fails: "cat: can\'t open \'/alive\': No such file or directory". Mend what it reports, or mend livenessProbe: kubectl edit deploy/unlively.'),
    ('deploy/unstarted', deploy('unstarted', SLEEP + ', ' + 'startupProbe: {tcpSocket: {port: 9999}, periodSeconds: 1, failureThreshold: 1000}'),
     "Deployment unstarted has 0 of 1 pods ready: pod unstarted-* runs, but the startup probe of its container c (TCP :9999) fails: nothing listens on port 9999 in it. Set startupProbe's port to one that it listens on: kubectl edit deploy/unstarted."),
    ('deploy/probe-port', deploy('probe-port', 'ports: [{containerPort: 8080}], ' + probe('readiness', 'httpGet: {path: /healthz, port: 8081}')),
     "Deployment probe-port has 0 of 1 pods ready: pod probe-port-* runs, but the readiness probe of its container c (GET :8081/healthz) fails: nothing listens on port 8081 in it (it declares 8080). Set readinessProbe's port to one that it listens on: kubectl edit deploy/probe-port."),
    ('svc/target-name', deploy('target-name', 'ports: [{containerPort: 8080, name: http}]') + '---' + service('target-name', 'target-name', 'htpp'),
     "Service target-name has 1 ready endpoint: its targetPort htpp is no port's name in pod target-name-* (it has http). Mend spec.ports.targetPort: kubectl edit svc/target-name."),
    ('svc/target-port', deploy('target-port', 'ports: [{containerPort: 8080}]') + '---' + service('target-port', 'target-port', 8081),
     'Service target-port has 1 ready endpoint: it sends to port 8081, which no container of pod target-port-* declares (they declare 8080). If nothing listens there, mend spec.ports.targetPort: kubectl edit svc/target-port.'),
    ('svc/selects-none', deploy('selects', '') + '---' + service('selects-none', 'slects', 8080),
     'Service selects-none has no ready endpoint: its selector app=slects matches no pod in namespace default (there are pods with app=selects). Mend spec.selector: kubectl patch svc/selects-none --type=merge -p \'{"spec":{"selector":{"app":"selects"}}}\'.'),
    ('svc/behind-unready', service('behind-unready', 'unready', 8080),
     'Service behind-unready has no ready endpoint: pod unready-* runs, but the readiness probe of its container c (exec sh -c echo no database; false) fails: "no database". Mend what it reports, or mend readinessProbe: kubectl edit deploy/unready.'),
    ('deploy/cpu', deploy('cpu', 'resources: {requests: {cpu: "64"}}'),
     'Deployment cpu has 0 of 1 pods ready: pod cpu-* fits on no node: it asks for 64 cpu, and node NODE has N of N left. Ask for less: kubectl set resources deploy/cpu -c c --requests=cpu=LESS.'),
    ('deploy/memory', deploy('memory', 'resources: {requests: {memory: 900Gi}}'),
     'Deployment memory has 0 of 1 pods ready: pod memory-* fits on no node: it asks for 900Gi memory, and node NODE has N of N left. Ask for less: kubectl set resources deploy/memory -c c --requests=memory=LESS.'),
    ('deploy/selector', deploy('selector', '', 'nodeSelector: {disk: ssd}'),
     'Deployment selector has 0 of 1 pods ready: pod selector-* fits on no node: no node has the label disk=ssd of its nodeSelector. Label one: kubectl label node NODE disk=ssd, or mend spec.template.spec.nodeSelector: kubectl edit deploy/selector.'),
    ('deploy/affinity', deploy('affinity', '', 'affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: zone, operator: In, values: [a, b]}]}]}}}'),
     'Deployment affinity has 0 of 1 pods ready: pod affinity-* fits on no node: no node is as its node affinity requires (zone In a, b). Label a node so (kubectl label node), or mend spec.template.spec.affinity: kubectl edit deploy/affinity.'),
    ('deploy/anti', deploy('anti', '', 'affinity: {podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{labelSelector: {matchLabels: {app: anti}}, topologyKey: kubernetes.io/hostname}]}}', replicas=2),
     'Deployment anti has 1 of 2 pods ready: pod anti-* fits on no node: its pod anti-affinity keeps it off every node where such a pod runs already. Run fewer replicas, add a node, or make that rule preferred instead of required: kubectl edit deploy/anti.'),
    ('deploy/host-port', deploy('host-port', 'ports: [{containerPort: 8080, hostPort: 30999}]', replicas=2),
     'Deployment host-port has 1 of 2 pods ready: pod host-port-* fits on no node: it asks for host port 30999, which pod host-port-* has on node NODE. Use a Service instead of hostPort, or another port, or fewer replicas: kubectl edit deploy/host-port.'),
    ('pod/gated', pod('gated', '', 'schedulingGates: [{name: example.com/wait}]'),
     'Pod gated is not scheduled before its scheduling gate example.com/wait is lifted. Whoever set it lifts it; by hand: kubectl patch pod/gated --type=json -p \'[{"op":"remove","path":"/spec/schedulingGates"}]\'.'),
    ('pod/other-scheduler', pod('other-scheduler', '', 'schedulerName: mine'),
     "Pod other-scheduler asks for the scheduler mine, and Wherry's is default-scheduler. Run that scheduler, or leave spec.schedulerName out: kubectl replace --force -f FILE (a pod's spec cannot be edited)."),
    ('deploy/no-config', deploy('no-config', 'env: [{name: A, valueFrom: {configMapKeyRef: {name: nix, key: a}}}]'),
     'Deployment no-config has 0 of 1 pods ready: pod no-config-* cannot start its container c, which takes $A from ConfigMap nix, which is not there. Create it: kubectl create configmap nix --from-literal=KEY=VALUE, or name another: kubectl edit deploy/no-config.'),
    ('deploy/no-config-from', deploy('no-config-from', 'envFrom: [{configMapRef: {name: nix}}]'),
     'Deployment no-config-from has 0 of 1 pods ready: pod no-config-from-* cannot start its container c, which takes its environment from ConfigMap nix, which is not there. Create it: kubectl create configmap nix --from-literal=KEY=VALUE, or name another: kubectl edit deploy/no-config-from.'),
    ('deploy/no-key', deploy('no-key', 'env: [{name: A, valueFrom: {configMapKeyRef: {name: kube-root-ca.crt, key: a}}}]'),
     'Deployment no-key has 0 of 1 pods ready: pod no-key-* cannot start its container c, which takes $A from key a of ConfigMap kube-root-ca.crt, which has no such key (it has ca.crt). Add the key: kubectl edit configmap/kube-root-ca.crt, or name another: kubectl edit deploy/no-key.'),
    ('deploy/no-secret', deploy('no-secret', 'env: [{name: A, valueFrom: {secretKeyRef: {name: nix, key: a}}}]'),
     'Deployment no-secret has 0 of 1 pods ready: pod no-secret-* cannot start its container c, which takes $A from Secret nix, which is not there. Create it: kubectl create secret generic nix --from-literal=KEY=VALUE, or name another: kubectl edit deploy/no-secret.'),
    ('deploy/no-volume', deploy('no-volume', 'volumeMounts: [{name: v, mountPath: /v}]', 'volumes: [{name: v, configMap: {name: nix}}]'),
     'Deployment no-volume has 0 of 1 pods ready: pod no-volume-* cannot start: its volume v is made from ConfigMap nix, which is not there. Create it: kubectl create configmap nix --from-literal=KEY=VALUE, or name another: kubectl edit deploy/no-volume.'),
    ('deploy/no-volume-key', deploy('no-volume-key', 'volumeMounts: [{name: v, mountPath: /v}]', 'volumes: [{name: v, configMap: {name: kube-root-ca.crt, items: [{key: a, path: a}]}}]'),
     'Deployment no-volume-key has 0 of 1 pods ready: pod no-volume-key-* cannot start: its volume v is made from key a of ConfigMap kube-root-ca.crt, which has no such key (it has ca.crt). Add the key: kubectl edit configmap/kube-root-ca.crt, or name another: kubectl edit deploy/no-volume-key.'),
    ('deploy/no-host-path', deploy('no-host-path', 'volumeMounts: [{name: v, mountPath: /v}]', 'volumes: [{name: v, hostPath: {path: /nix, type: Directory}}]'),
     'Deployment no-host-path has 0 of 1 pods ready: pod no-host-path-* cannot mount its volume v: on node NODE /nix is not a directory. Make that path there, or mend spec.template.spec.volumes: kubectl edit deploy/no-host-path.'),
    ('deploy/no-account', deploy('no-account', '', 'serviceAccountName: nix'),
     'Deployment no-account has 0 of 1 pods ready: its service account nix is not there, so the API refuses its pods. Create it: kubectl create serviceaccount nix, or name another in spec.template.spec.serviceAccountName: kubectl edit deploy/no-account.'),
    ('deploy/no-command', deploy('no-command', 'command: [/bin/nix]'),
     'Deployment no-command has 0 of 1 pods ready: pod no-command-* cannot start its container c: image wherry.dev/test:1 has no program /bin/nix. Mend its command: kubectl edit deploy/no-command.'),
    ('deploy/folder-command', deploy('folder-command', 'command: [/etc]'),
     'Deployment folder-command has 0 of 1 pods ready: pod folder-command-* cannot start its container c: /etc of image wherry.dev/test:1 is a folder, or may not be executed. Mend its command: kubectl edit deploy/folder-command.'),
    ('deploy/no-path-command', deploy('no-path-command', 'command: [nix]'),
     'Deployment no-path-command has 0 of 1 pods ready: pod no-path-command-* cannot start its container c: image wherry.dev/test:1 has no program nix. Mend its command: kubectl edit deploy/no-path-command.'),
    ('deploy/root-user', deploy('root-user', 'securityContext: {runAsNonRoot: true}'),
     "Deployment root-user has 0 of 1 pods ready: pod root-user-* may not start its container c: runAsNonRoot is set, and the image's user is root. Give it another user in spec.template.spec.securityContext.runAsUser: kubectl edit deploy/root-user, or use an image with a USER."),
    ('deploy/read-only', deploy('read-only', sh('echo x > /data || exit 1') + ', securityContext: {readOnlyRootFilesystem: true}'),
     'Deployment read-only has 0 of 1 pods ready: pod read-only-* cannot keep its container c running: it exits with code 1, as the file system that it writes to is read-only ("sh: can\'t create /data: Read-only file system"). Mount an emptyDir where it writes, or leave readOnlyRootFilesystem out of its securityContext: kubectl edit deploy/read-only.'),
    ('deploy/denied', deploy('denied', sh('echo x > /etc/passwd || exit 1') + ', securityContext: {runAsUser: 1000}'),
     'Deployment denied has 0 of 1 pods ready: pod denied-* cannot keep its container c running: it exits with code 1, as user 1000 lacks a permission ("sh: can\'t create /etc/passwd: Permission denied"). Give the path to that user (fsGroup, an emptyDir), or run as another (securityContext.runAsUser): kubectl edit deploy/denied.'),
    ('deploy/bind', deploy('bind', sh('exec nc -l -p 80') + ', securityContext: {runAsUser: 1000, capabilities: {drop: [ALL]}}', 'hostNetwork: true'),
     'Deployment bind has 0 of 1 pods ready: pod bind-* cannot keep its container c running: it exits with code 1, as user 1000 may not listen on that port ("nc: bind: Permission denied"). Listen on a port above 1023, or add the capability NET_BIND_SERVICE: kubectl edit deploy/bind.'),
    ('deploy/disk-full', deploy('disk-full', sh('busybox cp /bin/busybox /m/x || exit 1') + ', volumeMounts: [{name: m, mountPath: /m}]', 'volumes: [{name: m, emptyDir: {medium: Memory, sizeLimit: 1Mi}}]'),
     'Deployment disk-full has 0 of 1 pods ready: pod disk-full-* cannot keep its container c running: it exits with code 1, as a volume or disk that it writes to is full ("cp: write error: No space left on device"). Make room, or raise the volume\'s sizeLimit: kubectl edit deploy/disk-full.'),
    ('svc/database', service('database', 'db', 5432),
     'Service database has no ready endpoint: its selector app=db matches no pod in namespace default. Start pods with those labels, or mend spec.selector: kubectl edit svc/database.'),
    ('deploy/no-name', deploy('no-name', sh('wget -O- http://databse:5432')),
     'Deployment no-name has 0 of 1 pods ready: pod no-name-* cannot keep its container c running: it exits with code 1, as the name databse does not resolve: namespace default has no Service databse (there is database). Create that Service, or mend the name where the container gets it: kubectl edit deploy/no-name.'),
    ('deploy/work-dir', deploy('work-dir', 'workingDir: /bin/sh'),
     'Deployment work-dir has 0 of 1 pods ready: pod work-dir-* cannot start its container c in its workingDir /bin/sh: Not a directory. Mend workingDir: kubectl edit deploy/work-dir.'),
    ('deploy/unsupported', deploy('unsupported', '', 'resourceClaims: [{name: r, resourceClaimName: x}]'),
     'Deployment unsupported has 0 of 1 pods ready: pod unsupported-* is refused by node NODE: spec.resourceClaims is not supported yet: ask for devices by hostPath. Change that field: kubectl edit deploy/unsupported.'),
    ('deploy/init', deploy('init', '', 'initContainers: [{name: migrate, image: "%s", %s}]' % (IMAGE, sh('echo no such table; exit 7'))),
     'Deployment init has 0 of 1 pods ready: pod init-* cannot keep its init container migrate running: it exits with code 7; its last line was "no such table". Mend what it complains of; more of it: kubectl logs init-* -c migrate --previous.'),
    ('deploy/init-waits', deploy('init-waits', '', 'initContainers: [{name: wait, image: "%s", %s}]' % (IMAGE, SLEEP)),
     'Deployment init-waits has 0 of 1 pods ready: pod init-waits-* waits for its init container wait, which runs since TIME. See what it does: kubectl logs pod/init-waits-* -c wait.'),
    ('deploy/hook', deploy('hook', 'lifecycle: {postStart: {exec: {command: ["false"]}}}'),
     "Deployment hook has 0 of 1 pods ready: pod hook-* ends its container c again and again, as its postStart hook fails: command 'false' exited with 1. Mend lifecycle.postStart: kubectl edit deploy/hook."),
    ('deploy/gate', deploy('gate', '', 'readinessGates: [{conditionType: example.com/balanced}]'),
     'Deployment gate has 0 of 1 pods ready: pod gate-* runs, but nobody has set its readiness gate example.com/balanced to True. Whoever is to set that condition on the pod has not, or take the gate out of spec.template.spec.readinessGates: kubectl edit deploy/gate.'),
    ('pod/too-long', pod('too-long', SLEEP, 'activeDeadlineSeconds: 1'),
     "Pod too-long was ended after 1 s, as spec.activeDeadlineSeconds says. Give it more time, or make it faster: kubectl replace --force -f FILE (a pod's spec cannot be edited)."),
    ('pod/failed', pod('failed', sh('echo out of cheese; exit 5'), 'restartPolicy: Never'),
     'Pod failed has failed: its container c exited with code 5; its last line was "out of cheese". Mend what it complains of; more of it: kubectl logs failed -c c.'),
    ('deploy/deadline', deploy('deadline', SLEEP + ', ' + probe('readiness', 'exec: {command: ["false"]}'), more='progressDeadlineSeconds: 1'),
     'Deployment deadline has 0 of 1 pods ready and made no progress for 1 s (progressDeadlineSeconds): pod deadline-* runs, but the readiness probe of its container c (exec false) fails: it ends with an error and says nothing. Mend what it reports, or mend readinessProbe: kubectl edit deploy/deadline.'),
    ('deploy/paused', deploy('paused', '', more='paused: true'),
     'Deployment paused has 0 of 1 pods ready: its rollout is paused (spec.paused), so no pods are made. Let it go on: kubectl rollout resume deploy/paused.'),
    ('pdb/budget', deploy('budget', '') + '''
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: budget}
spec: {minAvailable: 1, selector: {matchLabels: {app: budget}}}
''',
     'PodDisruptionBudget budget: it lets no pod be evicted, as 1 of 1 pods are healthy and 1 are to stay so: a drain waits (429). '
     'Run more replicas than it keeps, or let it keep fewer: kubectl edit pdb/budget.'),
    ('pvc/claim', '''
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: claim}
spec: {accessModes: [ReadWriteOnce], storageClassName: '', resources: {requests: {storage: 1Gi}}}
---
apiVersion: v1
kind: PersistentVolume
metadata: {name: small}
spec: {accessModes: [ReadWriteOnce], capacity: {storage: 1Mi}, hostPath: {path: /nowhere}}
''',
     'PersistentVolumeClaim claim: no volume is free that suits it (1Gi, ReadWriteOnce, no class): the nearest one, small, has 1Mi. '
     'Make such a PersistentVolume, or make the claim anew with a class that provisions.'),
    ('pvc/class', '''
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: class}
spec: {accessModes: [ReadWriteOnce], storageClassName: nobodys, resources: {requests: {storage: 1Gi}}}
''',
     'PersistentVolumeClaim class: its class nobodys does not exist, and no volume of it suits: the nearest one, small, has 1Mi and is of no class. '
     'Make the class, or the claim anew with one that there is: kubectl get sc.'),
    ('deploy/with-claim', deploy('with-claim', 'volumeMounts: [{name: v, mountPath: /v}]', 'volumes: [{name: v, persistentVolumeClaim: {claimName: claim}}]'),
     'Deployment with-claim has 0 of 1 pods ready: pod with-claim-* waits for its claim claim: no volume is free that suits it (1Gi, ReadWriteOnce, no class): the nearest one, small, has 1Mi. '
     'Make such a PersistentVolume, or make the claim anew with a class that provisions.'),
    ('job/job', '''
apiVersion: batch/v1
kind: Job
metadata: {name: job}
spec: {backoffLimit: 0, template: {spec: {restartPolicy: Never, containers: [{name: c, image: "%s", %s}]}}}
''' % (IMAGE, sh('echo no such table; exit 3')),
     'Job job has failed: 1 of its pods failed, and backoffLimit allows 0; pod job-* has failed: its container c exited with code 3; its last line was "no such table". Mend what it complains of; more of it: kubectl logs job-* -c c.'),
    ('sts/in-order', stateful('in-order', sh('echo no such disk; exit 2')),
     'StatefulSet in-order has 0 of 2 pods ready: pod in-order-0 cannot keep its container c running: it exits with code 2; its last line was "no such disk". Mend what it complains of; more of it: kubectl logs in-order-0 -c c --previous.'),
    ('sts/nameless', stateful('nameless', SLEEP, 'nobody'),
     'StatefulSet nameless has 2 of 2 pods ready: its pods have no names in DNS, as Service nobody (spec.serviceName) is not there. Create it: kubectl create service clusterip nobody --clusterip=None, with the selector of the pods.'),
    ('sts/taken', stateful('taken', SLEEP, before=pod('taken-0', SLEEP).replace('{app: taken-0}', '{app: other}')),
     "StatefulSet taken has 0 of 2 pods ready: pod taken-0 is not this StatefulSet's (spec.selector does not select it), and has the name that it needs. Delete that pod, if nobody needs it: kubectl delete pod/taken-0."),
    ('quota/quota', '''
apiVersion: v1
kind: ResourceQuota
metadata: {name: quota}
spec: {hard: {count/widgets.example.com: "1"}}
''',
     'ResourceQuota quota: its count/widgets.example.com bounds nothing: no resource widgets.example.com of namespaces is served. Mend the name in spec.hard: kubectl edit quota/quota.'),
    ('ingress/ingress', '''
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: ingress}
spec: {ingressClassName: gone, defaultBackend: {service: {name: web, port: {number: 80}}}}
''',
     """Ingress ingress has no address: spec.ingressClassName names the class gone, and there is no such IngressClass. Let the front door serve it: kubectl patch ing/ingress --type=merge -p '{"spec":{"ingressClassName":"wherry"}}'."""),
    ('svc/balancer', deploy('balancer', '') + '---' + service('balancer', 'balancer', 8080).replace('spec: {', 'spec: {type: LoadBalancer, ').replace('name: balancer}', 'name: balancer, annotations: {wherry.dev/address-pool: nowhere}}', 1),
     'Service balancer has 1 ready endpoint: it gets no address: there is no pool "nowhere". Name one that is there (kubectl get addresspools): kubectl annotate svc/balancer --overwrite wherry.dev/address-pool=NAME.'),
    ('cm/held', '''
apiVersion: v1
kind: ConfigMap
metadata: {name: held, finalizers: [example.com/hold]}
''',
     'ConfigMap held was deleted and is still there: it waits for its finalizer example.com/hold. Whoever set it has to take it away; by hand: kubectl patch cm/held --type=merge -p \'{"metadata":{"finalizers":null}}\'.'),
    ('ns/going', '',
     'Namespace going was deleted and is still there: in it ConfigMap kept waits for its finalizer example.com/hold. Whoever set it has to take it away; by hand: kubectl patch cm/kept -n going --type=merge -p \'{"metadata":{"finalizers":null}}\'.'),
]

KEPT = '''
apiVersion: v1
kind: ConfigMap
metadata: {name: kept, finalizers: [example.com/hold]}
'''
# What is as declared, though it stands in somebody's way: told when it is asked for, not by `wherry why` alone.
ASKED_ONLY = ['pdb/budget']
