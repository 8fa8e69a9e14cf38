{{- /* Names of a pool's pods and of their revision must have at most 63 letters. */ -}}
{{- define "shotfarm.name" -}}
{{- .Release.Name | trunc 26 | trimSuffix "-" -}}
{{- end -}}

{{- define "shotfarm.release" -}}
app.kubernetes.io/name: shotfarm
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "shotfarm.selector" -}}
{{ include "shotfarm.release" .root }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "shotfarm.labels" -}}
{{ include "shotfarm.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end -}}

{{- define "shotfarm.url" -}}
http://{{ include "shotfarm.name" . }}-coordinator:{{ .Values.coordinator.port }}
{{- end -}}

{{- /* The URL for people; nodes of the chart call the Service. */ -}}
{{- define "shotfarm.publicUrl" -}}
{{- if .Values.publicUrl }}{{ .Values.publicUrl }}
{{- else if .Values.ingress.enabled }}{{ ternary "https" "http" (ne .Values.ingress.tlsSecret "") }}://{{ .Values.ingress.host }}
{{- else if and .Values.httpRoute.enabled .Values.httpRoute.host }}https://{{ .Values.httpRoute.host }}
{{- else }}{{ include "shotfarm.url" . }}
{{- end }}
{{- end -}}

{{- define "shotfarm.secret" -}}
{{- if .Values.trial.enabled }}{{ include "shotfarm.name" . }}-trial
{{- else }}{{ .Values.existingSecret }}
{{- end }}
{{- end -}}

{{- define "shotfarm.pod" -}}
automountServiceAccountToken: false
{{- with .Values.image.pullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  # The models of a claim are many files.
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "shotfarm.container" -}}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end -}}

{{- define "shotfarm.coordinatorContainer" -}}
image: {{ printf "%s:%s" .Values.image.coordinator (.Values.image.tag | default .Chart.AppVersion) }}
{{ include "shotfarm.container" . }}
{{- end -}}

{{- define "shotfarm.secretEnv" -}}
- name: {{ .name }}
  valueFrom: {secretKeyRef: {name: {{ include "shotfarm.secret" .root }}, key: {{ .key }}}}
{{- end -}}

{{- define "shotfarm.storageEnv" -}}
{{- $trial := printf "http://%s-seaweedfs:8333" (include "shotfarm.name" .) }}
- {name: FARM_HOME, value: /var/lib/shotfarm}
- {name: FARM_STORAGE__URL, value: {{ .Values.storage.url | quote }}}
- {name: FARM_STORAGE__ENDPOINT, value: {{ ternary $trial .Values.storage.endpoint .Values.trial.enabled | quote }}}
- {name: FARM_STORAGE__PUBLIC_ENDPOINT, value: {{ .Values.storage.publicEndpoint | quote }}}
- {name: FARM_STORAGE__REGION, value: {{ .Values.storage.region | quote }}}
{{ include "shotfarm.secretEnv" (dict "root" . "name" "FARM_STORAGE__ACCESS_KEY" "key" "s3-access-key") }}
{{ include "shotfarm.secretEnv" (dict "root" . "name" "FARM_STORAGE__SECRET_KEY" "key" "s3-secret-key") }}
{{ include "shotfarm.secretEnv" (dict "root" . "name" "FARM_BROKER_URL" "key" "broker-url") }}
{{ include "shotfarm.secretEnv" (dict "root" . "name" "FARM_KEYS__INGEST" "key" "ingest-key") }}
{{- end -}}

{{- define "shotfarm.settingsEnv" -}}
{{- range $section, $entries := .Values.settings }}
{{- if kindIs "map" $entries }}
{{- range $name, $value := $entries }}
- {name: FARM_{{ upper $section }}__{{ upper $name }}, value: {{ ternary $value (toJson $value) (kindIs "string" $value) | quote }}}
{{- end }}
{{- else }}
- {name: FARM_{{ upper $section }}, value: {{ toJson $entries | quote }}}
{{- end }}
{{- end }}
{{- end -}}

{{- define "shotfarm.databaseEnv" -}}
{{- if not .Values.trial.enabled }}
{{- include "shotfarm.secretEnv" (dict "root" . "name" "FARM_DATABASE_URL" "key" "database-url") }}
{{- end }}
{{- end -}}

{{- define "shotfarm.catalogEnv" -}}
{{- with .Values.catalogs }}
{{- $paths := list }}
{{- range $name, $text := . }}{{ $paths = append $paths (printf "/etc/shotfarm/catalogs/%s" $name) }}{{ end }}
- {name: FARM_CATALOGS, value: {{ toJson $paths | quote }}}
{{- end }}
{{- end -}}

{{- /* A pool with all its values. */ -}}
{{- define "shotfarm.pool" -}}
{{- $defaults := dict "replicas" 1 "lanes" (list "public") "owner" "farm" "terms" "owned" "cuda" "13.0" "gpuResource" "nvidia.com/gpu" "nodeSelector" dict "affinity" dict "runtimeClassName" "" "priorityClassName" "" "card" dict }}
{{- $_ := set $defaults "tolerations" (list (dict "key" "nvidia.com/gpu" "operator" "Exists" "effect" "NoSchedule")) }}
{{- $_ := set $defaults "models" (dict "claim" "" "hostPath" "") }}
{{- $_ := set $defaults "cache" (dict "claim" "" "hostPath" "" "storageClass" "" "sizeGiB" 60) }}
{{- $_ := set $defaults "resources" (dict "requests" (dict "cpu" "2" "memory" "16Gi")) }}
{{- toYaml (mergeOverwrite $defaults (deepCopy .)) }}
{{- end -}}

{{- define "shotfarm.rule" -}}
- ports: [{port: {{ .port }}, protocol: TCP}]
  {{- with .to }}
  to: {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{- define "shotfarm.gatewayUrl" -}}
{{- $gateway := .Values.gateway }}
{{- $gateway.publicUrl | default (ternary (printf "https://%s" $gateway.ingress.host) "" $gateway.ingress.enabled) }}
{{- end -}}

{{- define "shotfarm.gatewaySecret" -}}
{{- .Values.gateway.certificate.existingSecret | default (printf "%s-gateway" (include "shotfarm.name" .)) }}
{{- end -}}

{{- /* What the coordinator tells in invitations, and the gateway does. */ -}}
{{- define "shotfarm.gatewayEnv" -}}
{{- $certificate := .Values.gateway.certificate }}
- {name: FARM_GATEWAY__LISTEN, value: "0.0.0.0"}
- {name: FARM_GATEWAY__PORT, value: "8443"}
- {name: FARM_GATEWAY__PUBLIC_URL, value: {{ include "shotfarm.gatewayUrl" . | quote }}}
- {name: FARM_GATEWAY__RELAY, value: {{ .Values.gateway.relay | quote }}}
{{- if .Values.gateway.ingress.enabled }}
- {name: FARM_GATEWAY__TLS, value: "false"}
{{- else }}
- {name: FARM_GATEWAY__CERTIFICATE, value: /run/secrets/gateway/tls.crt}
- {name: FARM_GATEWAY__PINNED, value: {{ or $certificate.pinned (not $certificate.existingSecret) | quote }}}
{{- end }}
{{- end -}}
