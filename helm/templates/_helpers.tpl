{{- define "shotfarm.name" -}}
{{- printf "%s" .Release.Name | trunc 32 | trimSuffix "-" -}}
{{- end -}}

{{- define "shotfarm.selector" -}}
app.kubernetes.io/name: shotfarm
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "shotfarm.labels" -}}
{{ include "shotfarm.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end -}}

{{- define "shotfarm.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}

{{- define "shotfarm.url" -}}
http://{{ include "shotfarm.name" . }}-coordinator:{{ .Values.coordinator.port }}
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
  seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "shotfarm.container" -}}
image: {{ include "shotfarm.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end -}}

{{- define "shotfarm.secretEnv" -}}
- name: {{ .name }}
  valueFrom: {secretKeyRef: {name: {{ .root.Values.existingSecret }}, key: {{ .key }}}}
{{- end -}}

{{- define "shotfarm.storageEnv" -}}
- {name: FARM_HOME, value: /var/lib/shotfarm}
- {name: FARM_STORAGE__URL, value: {{ .Values.storage.url | quote }}}
- {name: FARM_STORAGE__ENDPOINT, value: {{ .Values.storage.endpoint | quote }}}
- {name: FARM_STORAGE__PUBLIC_ENDPOINT, value: {{ .Values.storage.publicEndpoint | quote }}}
- {name: FARM_STORAGE__REGION, value: {{ .Values.storage.region | quote }}}
- {name: FARM_PUBLIC_URL, value: {{ include "shotfarm.url" . | quote }}}
{{ include "shotfarm.secretEnv" (dict "root" . "name" "FARM_STORAGE__ACCESS_KEY" "key" "s3-access-key") }}
{{ include "shotfarm.secretEnv" (dict "root" . "name" "FARM_STORAGE__SECRET_KEY" "key" "s3-secret-key") }}
{{ include "shotfarm.secretEnv" (dict "root" . "name" "FARM_BROKER_URL" "key" "broker-url") }}
{{ include "shotfarm.secretEnv" (dict "root" . "name" "FARM_KEYS__INGEST" "key" "ingest-key") }}
{{- end -}}

{{- define "shotfarm.settingsEnv" -}}
{{- range $section, $entries := .Values.settings }}
{{- range $name, $value := $entries }}
- {name: FARM_{{ upper $section }}__{{ upper $name }}, value: {{ toJson $value | quote }}}
{{- end }}
{{- end }}
{{- end -}}

{{- define "shotfarm.catalogEnv" -}}
{{- with .Values.catalogs }}
{{- $paths := list }}
{{- range $name, $text := . }}{{ $paths = append $paths (printf "/etc/shotfarm/catalogs/%s" $name) }}{{ end }}
- {name: FARM_CATALOGS, value: {{ toJson $paths | quote }}}
{{- end }}
{{- end -}}

{{- define "shotfarm.annotations" -}}
{{- $annotations := deepCopy .Values.podAnnotations }}
{{- with .Values.catalogs }}
{{- $_ := set $annotations "shotfarm/catalogs" (toJson . | sha256sum) }}
{{- end }}
{{- with $annotations }}
annotations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "shotfarm.volumes" -}}
- {name: home, emptyDir: {}}
- {name: tmp, emptyDir: {}}
{{- if .Values.catalogs }}
- {name: catalogs, configMap: {name: {{ include "shotfarm.name" . }}-catalogs}}
{{- end }}
{{- end -}}

{{- define "shotfarm.mounts" -}}
- {name: home, mountPath: /var/lib/shotfarm}
- {name: tmp, mountPath: /tmp}
{{- if .Values.catalogs }}
- {name: catalogs, mountPath: /etc/shotfarm/catalogs, readOnly: true}
{{- end }}
{{- end -}}
