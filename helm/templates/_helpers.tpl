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

{{- define "shotfarm.scratch" -}}
- {name: home, emptyDir: {}}
- {name: tmp, emptyDir: {}}
{{- end -}}

{{- define "shotfarm.scratchMounts" -}}
- {name: home, mountPath: /var/lib/shotfarm}
- {name: tmp, mountPath: /tmp}
{{- end -}}
