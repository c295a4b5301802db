// One command of the bridge as a job.
param location string
param tags object
param name string

@description('Name of the container, by which alerts find its lines in the log.')
param container string

param environmentId string
param identities object
param registries array
param secrets array
param settings array
param image string
param arguments array

@description('When it runs, in UTC, as cron writes it. Empty: when an operator or a release starts it.')
param schedule string = ''

param timeoutSeconds int

resource job 'Microsoft.App/jobs@2025-01-01' = {
  name: name
  location: location
  tags: tags
  identity: identities
  properties: {
    environmentId: environmentId
    workloadProfileName: 'Consumption'
    configuration: {
      triggerType: empty(schedule) ? 'Manual' : 'Schedule'
      manualTriggerConfig: empty(schedule) ? { parallelism: 1, replicaCompletionCount: 1 } : null
      scheduleTriggerConfig: empty(schedule)
        ? null
        : { cronExpression: schedule, parallelism: 1, replicaCompletionCount: 1 }
      replicaTimeout: timeoutSeconds
      // Each is safe to run again, and the next run or the operator does so.
      replicaRetryLimit: 0
      registries: registries
      secrets: secrets
    }
    template: {
      containers: [
        {
          name: container
          image: image
          args: arguments
          env: settings
          resources: { cpu: json('0.25'), memory: '0.5Gi' }
        }
      ]
    }
  }
}

output name string = job.name
