// What an operator must hear of, by e-mail. The conditions are those of deploy/monitoring/alerts.yml, as far as Azure
// can see them: in the bridge's log, in the reports of the job "watch", and in Azure's own metrics.
param location string
param tags object
param email string
param workspaceId string
param bridgeId string
param apiId string
param storageId string
param databaseId string

var page = 1
var ticket = 2

// `lines` is the log of our containers, one JSON object a line; `report` the lines of the last health reports.
var lines = 'let lines = ContainerAppConsoleLogs_CL | extend line = parse_json(Log_s) | extend event = tostring(line.event), container = ContainerName_s;'
var report = 'let report = ContainerAppConsoleLogs_CL | where ContainerName_s == "watch";'

// An alert is raised when its query returns a row in `failing` of the last `of` evaluations.
var queries = [
  {
    name: 'dead-letters'
    about: 'An event was given up. `python -m bridge dlq list` says what to do.'
    severity: ticket
    query: '${lines} lines | where event in ("event_dead_lettered", "message_unreadable")'
    minutes: 15
    failing: 1
    of: 1
  }
  {
    name: 'dependency-down'
    about: 'No bridge can use Odoo, SQL or the queue. Events wait, and continue by themselves. `python -m bridge check` says what to do.'
    severity: page
    query: '${lines} lines | where container == "bridge" and event in ("dependency_down", "dependency_up") and tostring(line.dependency) != "ManyChat" | summarize arg_max(TimeGenerated, event) by dependency = tostring(line.dependency), ContainerGroupName_s | where event == "dependency_down" and TimeGenerated < ago(5m)'
    minutes: 60
    failing: 1
    of: 1
  }
  // While ManyChat is down no event waits, but what users decided: no alert in the night.
  {
    name: 'manychat-stopped'
    about: 'ManyChat takes no calls, because there were too many. Decisions wait, and are written afterwards. `python -m bridge status` says until when.'
    severity: ticket
    query: '${lines} lines | where event == "manychat_stopped"'
    minutes: 15
    failing: 1
    of: 1
  }
  {
    name: 'manychat-behind'
    about: 'What users decided has waited for ManyChat for a quarter of an hour. `python -m bridge check` says whether ManyChat answers, takes the token, and has the fields.'
    severity: ticket
    query: '${report} report | summarize waits = max(todouble(extract("\\"waiting_seconds\\": ([0-9.]+)", 1, Log_s))), stops = countif(Log_s contains "\\"stopped_until\\": \\"") | where waits > 900 and stops == 0'
    minutes: 15
    failing: 1
    of: 1
  }
  {
    name: 'manychat-refuses'
    about: 'ManyChat refused what was decided about more than ten people within an hour. In Odoo, the filter “Refused by ManyChat” lists their opportunities with the reasons.'
    severity: ticket
    query: '${lines} lines | where event == "manychat_refused" | summarize people = dcount(tostring(line.manychat_id)) | where people > 10'
    minutes: 60
    failing: 1
    of: 1
  }
  {
    name: 'bridge-crashed'
    about: 'A bug ended a consumer, or one stood still. The bridge was restarted, and nothing is lost. Its log names the place.'
    severity: page
    query: '${lines} lines | where event in ("consumer_crashed", "consumer_stuck")'
    minutes: 15
    failing: 1
    of: 1
  }
  {
    name: 'wrong-settings'
    about: 'A container ends at its start: a setting is wrong, or the tables are older than the bridge. Its log says which.'
    severity: page
    query: 'ContainerAppSystemLogs_CL | where Reason_s contains "BackOff" or Reason_s contains "Crash" | summarize count() by ContainerAppName_s'
    minutes: 15
    failing: 2
    of: 2
  }
  {
    name: 'events-fail'
    about: 'Events fail and are tried again. The log (event_retried) names the events and their reason.'
    severity: ticket
    query: '${lines} lines | where event == "event_retried" | summarize retries = count() by code = tostring(line.code) | where retries > 60'
    minutes: 15
    failing: 1
    of: 1
  }
  {
    name: 'standby-fails'
    about: 'The API cannot answer: it knows no keys, or has a fault. `GET /api/v1/reports/health` says what is unavailable.'
    severity: page
    query: '${lines} lines | where container == "api" and event in ("no_keys_known", "request_failed")'
    minutes: 15
    failing: 1
    of: 1
  }
  {
    name: 'unhealthy'
    about: 'The health report names a problem: an event has waited for more than five minutes, a queue cannot deliver a message, no bridge is alive, or a dependency is unavailable. `python -m bridge status` shows which.'
    severity: page
    query: '${report} report | where Log_s contains "\\"status\\": \\"degraded\\""'
    minutes: 15
    failing: 2
    of: 2
  }
  {
    name: 'no-health-report'
    about: 'The job "watch" has written no health report for half an hour, so that other alerts may be missing too.'
    severity: ticket
    query: '${report} report | where Log_s contains "\\"checked_at\\"" | count | where Count == 0'
    minutes: 30
    failing: 1
    of: 1
  }
]

// Azure's own metrics, each on one resource.
var metrics = [
  {
    name: 'no-bridge-runs'
    about: 'No bridge runs. Events wait on their queues, and nothing is lost. The system log says why.'
    severity: page
    scope: bridgeId
    namespace: 'Microsoft.App/containerApps'
    metric: 'Replicas'
    aggregation: 'Maximum'
    operator: 'LessThan'
    threshold: 1
    every: 'PT1M'
    window: 'PT5M'
  }
  {
    name: 'no-api-runs'
    about: 'No API runs, so there is no standby while Odoo is down.'
    severity: ticket
    scope: apiId
    namespace: 'Microsoft.App/containerApps'
    metric: 'Replicas'
    aggregation: 'Maximum'
    operator: 'LessThan'
    threshold: 1
    every: 'PT1M'
    window: 'PT5M'
  }
  {
    name: 'bridge-restarts'
    about: 'A bridge was restarted several times. Its log says why.'
    severity: ticket
    scope: bridgeId
    namespace: 'Microsoft.App/containerApps'
    metric: 'RestartCount'
    aggregation: 'Maximum'
    operator: 'GreaterThan'
    threshold: 3
    every: 'PT5M'
    window: 'PT15M'
  }
  {
    name: 'queues-are-long'
    about: 'More than 10,000 messages are on the queues of the account. Azure counts them once an hour.'
    severity: ticket
    scope: '${storageId}/queueServices/default'
    namespace: 'Microsoft.Storage/storageAccounts/queueServices'
    metric: 'QueueMessageCount'
    aggregation: 'Average'
    operator: 'GreaterThan'
    threshold: 10000
    every: 'PT1H'
    window: 'PT1H'
  }
  {
    name: 'database-is-busy'
    about: 'The database has used more than 90 % of its processor for 15 minutes. Choose a larger one (DATABASE_SKU).'
    severity: ticket
    scope: databaseId
    namespace: 'Microsoft.Sql/servers/databases'
    metric: 'cpu_percent'
    aggregation: 'Average'
    operator: 'GreaterThan'
    threshold: 90
    every: 'PT5M'
    window: 'PT15M'
  }
  {
    name: 'database-is-full'
    about: 'The database has used more than 85 % of its space. `python -m bridge purge` removes what was settled long ago.'
    severity: page
    scope: databaseId
    namespace: 'Microsoft.Sql/servers/databases'
    metric: 'storage_percent'
    aggregation: 'Maximum'
    operator: 'GreaterThan'
    threshold: 85
    every: 'PT15M'
    window: 'PT1H'
  }
]

resource operators 'Microsoft.Insights/actionGroups@2023-01-01' = {
  name: 'ag-miasalud'
  location: 'global'
  tags: tags
  properties: {
    groupShortName: 'miasalud'
    enabled: true
    emailReceivers: [{ name: 'operator', emailAddress: email, useCommonAlertSchema: true }]
  }
}

resource logAlerts 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = [
  for each in queries: {
    name: 'miasalud-${each.name}'
    location: location
    tags: tags
    kind: 'LogAlert'
    properties: {
      displayName: 'MiaSalud: ${each.name}'
      description: each.about
      severity: each.severity
      enabled: true
      scopes: [workspaceId]
      evaluationFrequency: 'PT${min(each.minutes, 15)}M'
      windowSize: 'PT${each.minutes}M'
      // The tables are there after the first line of a container, and so after this deployment.
      skipQueryValidation: true
      autoMitigate: true
      criteria: {
        allOf: [
          {
            query: each.query
            timeAggregation: 'Count'
            operator: 'GreaterThan'
            threshold: 0
            failingPeriods: { minFailingPeriodsToAlert: each.failing, numberOfEvaluationPeriods: each.of }
          }
        ]
      }
      actions: { actionGroups: [operators.id] }
    }
  }
]

resource metricAlerts 'Microsoft.Insights/metricAlerts@2018-03-01' = [
  for each in metrics: {
    name: 'miasalud-${each.name}'
    location: 'global'
    tags: tags
    properties: {
      description: each.about
      severity: each.severity
      enabled: true
      scopes: [each.scope]
      evaluationFrequency: each.every
      windowSize: each.window
      autoMitigate: true
      criteria: {
        'odata.type': 'Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria'
        allOf: [
          {
            name: each.name
            criterionType: 'StaticThresholdCriterion'
            metricNamespace: each.namespace
            metricName: each.metric
            timeAggregation: each.aggregation
            operator: each.operator
            threshold: each.threshold
          }
        ]
      }
      actions: [{ actionGroupId: operators.id }]
    }
  }
]
