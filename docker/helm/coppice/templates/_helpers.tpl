{{- define "coppice.name" -}}
{{- if contains "coppice" .Release.Name }}{{ .Release.Name }}{{ else }}{{ .Release.Name }}-coppice{{ end }}
{{- end }}

{{- define "coppice.selector" -}}
app.kubernetes.io/name: coppice
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "coppice.labels" -}}
{{ include "coppice.selector" . }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: coppice-{{ .Chart.Version }}
{{- end }}

{{- define "coppice.serverSelector" -}}
{{ include "coppice.selector" . }}
app.kubernetes.io/component: server
{{- end }}

{{- define "coppice.routerSelector" -}}
{{ include "coppice.selector" . }}
app.kubernetes.io/component: router
{{- end }}

{{- define "coppice.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "coppice.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- /* The server's configuration file: what the chart knows, then .Values.config. */ -}}
{{- define "coppice.config" -}}
{{- $config := dict "host" "0.0.0.0" "port" 8080 "grpc-port" 8081 "offline" "on" -}}
{{- $_ := set $config "drain-timeout" .Values.drain.seconds -}}
{{- $_ := set $config "log-format" .Values.logFormat -}}
{{- if .Values.model.servedName }}{{ $_ := set $config "served-model-name" .Values.model.servedName }}{{ end -}}
{{- if .Values.apiKeys.secret }}{{ $_ := set $config "api-key-file" "/etc/coppice/keys/keys.txt" }}{{ end -}}
{{- if .Values.tls.secret -}}
{{- $_ := set $config "tls-cert" "/etc/coppice/tls/tls.crt" -}}
{{- $_ := set $config "tls-key" "/etc/coppice/tls/tls.key" -}}
{{- end -}}
{{- if .Values.kvEvents.enabled -}}
{{- $_ := set $config "kv-events" (printf "tcp://*:%d" (int .Values.kvEvents.port)) -}}
{{- end -}}
{{- if .Values.gpu.count }}{{ $_ := set $config "device" "cuda" }}{{ end -}}
{{- toYaml (mergeOverwrite $config (deepCopy .Values.config)) -}}
{{- end }}
