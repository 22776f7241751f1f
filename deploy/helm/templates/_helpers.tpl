{{- define "respool.name" -}}{{ .Release.Name | trunc 40 | trimSuffix "-" }}{{- end }}

{{- define "respool.labels" -}}
app.kubernetes.io/name: respool
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "respool.selector" -}}
app.kubernetes.io/name: respool
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "respool.image" -}}
{{- if .image.digest -}}
{{ .image.repository }}@{{ .image.digest }}
{{- else -}}
{{ .image.repository }}:{{ .image.tag | default .root.Chart.AppVersion }}
{{- end -}}
{{- end }}

{{- define "respool.endpoint" -}}
{{- if .Values.bundled.enabled -}}
http://{{ include "respool.name" . }}-s3:8333
{{- else -}}
{{ required "s3.endpoint is needed, or bundled.enabled" .Values.s3.endpoint }}
{{- end -}}
{{- end }}

{{- /* Settings of a process; the secrets are files. */ -}}
{{- define "respool.env" -}}
- {name: RESPOOL_REDIS_URL_FILE, value: /run/secrets/respool/redis_url}
{{- if .root.Values.separateBroker }}
- {name: RESPOOL_BROKER_URL_FILE, value: /run/secrets/respool/broker_url}
{{- end }}
- {name: RESPOOL_S3_ENDPOINT, value: {{ include "respool.endpoint" .root | quote }}}
- {name: RESPOOL_S3_REGION, value: {{ .root.Values.s3.region | quote }}}
- {name: RESPOOL_S3_BUCKET, value: {{ .root.Values.s3.bucket | quote }}}
{{- if and .s3 .root.Values.s3.keys }}
- {name: RESPOOL_S3_ACCESS_KEY_FILE, value: /run/secrets/respool/{{ .s3 }}_s3_access_key}
- {name: RESPOOL_S3_SECRET_KEY_FILE, value: /run/secrets/respool/{{ .s3 }}_s3_secret_key}
{{- end }}
{{- range $name, $value := .root.Values.settings }}
- {name: {{ $name }}, value: {{ $value | quote }}}
{{- end }}
{{- end }}

{{- /* The secret as files: those of `keys`, and the S3 keys of the role `s3`. */ -}}
{{- define "respool.secretVolume" -}}
- name: secrets
  secret:
    secretName: {{ .root.Values.existingSecret }}
    defaultMode: 0440
    items:
      {{- range .keys }}
      - {key: {{ . }}, path: {{ . }}}
      {{- end }}
      {{- if and .root.Values.separateBroker (has "redis_url" .keys) }}
      - {key: broker_url, path: broker_url}
      {{- end }}
      {{- if and .s3 .root.Values.s3.keys }}
      - {key: {{ .s3 }}_s3_access_key, path: {{ .s3 }}_s3_access_key}
      - {key: {{ .s3 }}_s3_secret_key, path: {{ .s3 }}_s3_secret_key}
      {{- end }}
{{- end }}

{{- /* The priority of a pod: the named class, or the release's own of its role, or none. */ -}}
{{- define "respool.priority" -}}
{{- if .name -}}
priorityClassName: {{ .name }}
{{- else if .root.Values.priorityClasses.create -}}
priorityClassName: {{ include "respool.priorityClass" . }}
{{- end }}
{{- end }}

{{- /* PriorityClasses have no namespace, so their names have it. */ -}}
{{- define "respool.priorityClass" -}}
{{ .root.Release.Namespace }}-{{ include "respool.name" .root }}-{{ .role }}
{{- end }}

{{- define "respool.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "respool.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}
